//! Figures of the last hour, for charts. Each is a ring of fixed size, so that the console stays small for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Cluster;
use super::brokers::Runtime;

/// Time between two points.
pub const STEP: Duration = Duration::from_secs(15);

/// Points of one series: an hour.
pub const POINTS: usize = 240;

/// Series that are kept at most; the groups that come later have none.
const SERIES_MAX: usize = 4096;

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Messages per second into all brokers.
    In,
    /// Messages per second out of all brokers.
    Out,
    /// Messages that no group consumed yet, all groups together.
    Lag,
    /// Messages that one group has not consumed.
    LagOf(String),
}

/// Points by figure; `None` where it was not known.
#[derive(Debug, Default)]
pub struct Series {
    rings: Mutex<HashMap<Figure, VecDeque<Option<f32>>>>,
}

impl Series {
    /// Adds one point to every series: those that `points` does not name get a gap.
    pub fn add(&self, points: Vec<(Figure, Option<f64>)>) {
        let mut rings = self.rings();
        for ring in rings.values_mut() {
            ring.push_back(None);
        }
        for (figure, value) in points {
            if !rings.contains_key(&figure) && SERIES_MAX <= rings.len() {
                continue;
            }
            let ring = rings.entry(figure).or_insert_with(|| VecDeque::from([None]));
            if let Some(last) = ring.back_mut() {
                *last = value.map(|value| value as f32);
            }
        }
        for ring in rings.values_mut() {
            while POINTS < ring.len() {
                ring.pop_front();
            }
        }
        // What has been nothing but gaps for an hour is gone.
        rings.retain(|_, ring| ring.iter().any(Option::is_some));
    }

    /// Points of a figure, oldest first.
    pub fn points(&self, figure: &Figure) -> Vec<Option<f32>> {
        self.rings().get(figure).map(|ring| ring.iter().copied().collect()).unwrap_or_default()
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<Figure, VecDeque<Option<f32>>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Takes one point of every figure.
    pub async fn sample(&self) {
        let brokers = self.brokers().await;
        let consumption = self.consumption().await;
        let mut points = vec![
            (Figure::In, brokers.sum(Runtime::in_per_second)),
            (Figure::Out, brokers.sum(Runtime::out_per_second)),
        ];
        let mut total = None;
        for (group, progress) in &consumption.groups {
            let lag = progress.lag().map(|lag| lag as f64);
            total = match (total, lag) {
                (Some(total), Some(lag)) => Some(total + lag),
                (known, lag) => known.or(lag),
            };
            points.push((Figure::LagOf(group.clone()), lag));
        }
        if !consumption.is_partial {
            points.push((Figure::Lag, total));
        }
        self.series.add(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_an_hour_long_and_keeps_its_gaps() {
        let series = Series::default();
        for at in 0..POINTS + 5 {
            series.add(vec![(Figure::In, (at % 2 == 0).then_some(at as f64))]);
        }
        let points = series.points(&Figure::In);
        assert_eq!(points.len(), POINTS);
        assert_eq!(points[POINTS - 2..], [None, Some((POINTS + 4) as f32)]);
        assert!(series.points(&Figure::Lag).is_empty());
    }

    #[test]
    fn a_group_that_is_gone_for_an_hour_costs_nothing() {
        let series = Series::default();
        series.add(vec![(Figure::LagOf("g".into()), Some(1.0))]);
        for _ in 0..POINTS {
            series.add(vec![(Figure::In, Some(1.0))]);
        }
        assert_eq!(series.rings().len(), 1);
    }
}
