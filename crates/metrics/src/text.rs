//! The text that a scrape gets: the text format of Prometheus (0.0.4), or OpenMetrics (1.0.0) where it is asked for.
//!
//! Written here and not by a client library: those keep every series as an object with a life of its own, and know one
//! of the two formats. Ours are computed when they are asked for, and one name can stand for another.
//!
//! Source of the suffixed names: the exporter of OpenTelemetry for Java, with which stock brokers show theirs, appends
//! the unit to the name, and `_total` to that of a counter.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::histogram::Histogram;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus, 0.0.4.
    Prometheus,
    /// OpenMetrics, 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format for a request that says what it takes (`Accept`).
    pub fn accepted(accept: &str) -> Format {
        let is_refused = |range: &str| range.split(';').any(|part| matches!(part.trim(), "q=0" | "q=0.0"));
        let takes = |range: &str| range.trim().starts_with("application/openmetrics-text") && !is_refused(range);
        if accept.split(',').any(takes) { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// What the answer says it is (`Content-Type`).
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether names carry the unit of their values (`metricsNames`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As stock brokers show them: `rocketmq_consumer_lag_latency_milliseconds`.
    Suffixed,
    /// As the official documents list them: `rocketmq_consumer_lag_latency`.
    Plain,
    /// Each family with a unit is there twice.
    Both,
}

impl Naming {
    /// The naming of that name.
    pub fn named(name: &str) -> Option<Naming> {
        match name {
            "suffixed" => Some(Naming::Suffixed),
            "plain" => Some(Naming::Plain),
            "both" => Some(Naming::Both),
            _ => None,
        }
    }

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Naming::Suffixed => "suffixed",
            Naming::Plain => "plain",
            Naming::Both => "both",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Series of one name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    name: &'static str,
    unit: &'static str,
    kind: Kind,
    help: &'static str,
}

impl Family {
    /// A number that only grows. Its name is given without `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, unit: "", kind: Kind::Counter, help }
    }

    /// A number that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, unit: "", kind: Kind::Gauge, help }
    }

    /// How values are spread.
    pub const fn histogram(name: &'static str, help: &'static str) -> Family {
        Family { name, unit: "", kind: Kind::Histogram, help }
    }

    /// The same with values in a unit: `milliseconds`, `bytes`.
    pub const fn in_unit(self, unit: &'static str) -> Family {
        Family { unit, ..self }
    }

    /// The name with the unit, unless it ends with that already.
    fn suffixed(&self) -> String {
        let has_unit = self.name.strip_suffix(self.unit).is_some_and(|rest| rest.ends_with('_'));
        match self.unit {
            "" => self.name.to_owned(),
            _ if has_unit => self.name.to_owned(),
            unit => format!("{}_{unit}", self.name),
        }
    }

    fn names(&self, naming: Naming) -> Vec<String> {
        let (suffixed, plain) = (self.suffixed(), self.name.to_owned());
        match naming {
            Naming::Suffixed => vec![suffixed],
            Naming::Plain => vec![plain],
            Naming::Both if suffixed == plain => vec![plain],
            Naming::Both => vec![suffixed, plain],
        }
    }
}

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// A whole number that may be larger.
    Unsigned(u64),
    /// Any number.
    Real(f64),
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number::Whole(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number::Unsigned(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        Number::Unsigned(value as u64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Real(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Number {
        Number::Unsigned(value.into())
    }
}

/// Labels of a series: names and values.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// The text of one scrape, under way.
#[derive(Debug)]
pub struct Page {
    out: String,
    format: Format,
    naming: Naming,
    /// Labels that all series carry, written.
    common: String,
    series_max: usize,
    /// Series that found no room, by family.
    dropped: BTreeMap<&'static str, u64>,
}

/// Series that could not be shown.
const DROPPED: Family = Family::gauge(
    "apogee_metrics_dropped_series",
    "Series left out of this scrape because their family has more than metricsOtelCardinalityLimit",
);

impl Page {
    /// An empty page. A family shows `series_max` series at most.
    pub fn new(format: Format, naming: Naming, series_max: usize) -> Page {
        Page {
            out: String::with_capacity(64 * 1024),
            format,
            naming,
            common: String::new(),
            series_max,
            dropped: BTreeMap::new(),
        }
    }

    /// Labels that all families carry that follow.
    pub fn with_labels(&mut self, labels: Labels<'_>) {
        self.common.clear();
        push_labels(&mut self.common, labels);
    }

    /// Writes a family. `write` is called once for each of its names, and has to write the same series every time; none of
    /// them twice. A family may be written once.
    pub fn family(&mut self, family: &Family, write: impl Fn(&mut Series<'_>)) {
        for name in family.names(self.naming) {
            self.head(family, &name);
            let mut series = Series {
                out: &mut self.out,
                name: &name,
                kind: family.kind,
                common: &self.common,
                left: self.series_max,
                dropped: 0,
            };
            write(&mut series);
            if series.dropped > 0 {
                self.dropped.insert(family.name, series.dropped);
            }
        }
    }

    fn head(&mut self, family: &Family, name: &str) {
        let suffix = match (family.kind, self.format) {
            (Kind::Counter, Format::Prometheus) => "_total",
            _ => "",
        };
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        for part in ["# HELP ", name, suffix, " ", family.help, "\n# TYPE ", name, suffix, " ", kind, "\n"] {
            self.out.push_str(part);
        }
    }

    /// The text.
    pub fn finish(mut self) -> String {
        let dropped = std::mem::take(&mut self.dropped);
        self.with_labels(&[]);
        self.family(&DROPPED, |series| {
            for (family, count) in &dropped {
                series.value(&[("family", family)], *count);
            }
            if dropped.is_empty() {
                series.value(&[], 0_u64);
            }
        });
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// Where the series of a family are written.
#[derive(Debug)]
pub struct Series<'p> {
    out: &'p mut String,
    name: &'p str,
    kind: Kind,
    common: &'p str,
    /// Series that the family may still show.
    left: usize,
    dropped: u64,
}

impl Series<'_> {
    /// Writes a series of a counter or gauge.
    pub fn value(&mut self, labels: Labels<'_>, value: impl Into<Number>) {
        debug_assert_ne!(self.kind, Kind::Histogram);
        if self.takes(1) {
            let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
            self.line(suffix, labels, None, value.into());
        }
    }

    /// Writes the series of a histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        debug_assert_eq!(self.kind, Kind::Histogram);
        let read = histogram.read();
        if !self.takes(read.cumulative.len() + 2) {
            return;
        }
        for (index, count) in read.cumulative.iter().enumerate() {
            let bound = read.bounds.get(index).copied().unwrap_or(f64::INFINITY);
            self.line("_bucket", labels, Some(bound), Number::Unsigned(*count));
        }
        self.line("_sum", labels, None, Number::Real(read.sum));
        self.line("_count", labels, None, Number::Unsigned(read.cumulative.last().copied().unwrap_or(0)));
    }

    /// Whether there is room for so many series more.
    fn takes(&mut self, series: usize) -> bool {
        match self.left.checked_sub(series) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                self.dropped += series as u64;
                false
            }
        }
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<f64>, value: Number) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        if !self.common.is_empty() || !labels.is_empty() || bound.is_some() {
            self.out.push('{');
            let from = self.out.len();
            self.out.push_str(self.common);
            if self.out.len() > from && !labels.is_empty() {
                self.out.push(',');
            }
            push_labels(self.out, labels);
            if let Some(bound) = bound {
                self.out.push_str(if self.out.len() > from { ",le=\"" } else { "le=\"" });
                push_number(self.out, Number::Real(bound));
                self.out.push('"');
            }
            self.out.push('}');
        }
        self.out.push(' ');
        push_number(self.out, value);
        self.out.push('\n');
    }
}

fn push_labels(out: &mut String, labels: Labels<'_>) {
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

fn push_number(out: &mut String, number: Number) {
    // Writing to a text cannot fail.
    let _ = match number {
        Number::Whole(value) => write!(out, "{value}"),
        Number::Unsigned(value) => write!(out, "{value}"),
        Number::Real(value) if value.is_nan() => write!(out, "NaN"),
        Number::Real(value) if value.is_infinite() => write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' }),
        Number::Real(value) => write!(out, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Scale;

    const LAG: Family = Family::gauge("lag_latency", "Age").in_unit("milliseconds");
    const SENT: Family = Family::counter("sent", "Messages");

    fn page(format: Format, naming: Naming, write: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(format, naming, 2);
        page.with_labels(&[("node", "a")]);
        write(&mut page);
        let text = page.finish();
        text.split_once("# HELP apogee_metrics_dropped_series").unwrap().0.to_owned()
    }

    #[test]
    fn a_unit_is_part_of_the_name_as_stock_brokers_have_it() {
        let write = |page: &mut Page| page.family(&LAG, |series| series.value(&[("topic", "t")], -1_i64));
        let suffixed = "# HELP lag_latency_milliseconds Age\n# TYPE lag_latency_milliseconds gauge\n\
                        lag_latency_milliseconds{node=\"a\",topic=\"t\"} -1\n";
        let plain = suffixed.replace("_milliseconds", "");
        assert_eq!(page(Format::Prometheus, Naming::Suffixed, write), suffixed);
        assert_eq!(page(Format::Prometheus, Naming::Plain, write), plain);
        assert_eq!(page(Format::Prometheus, Naming::Both, write), format!("{suffixed}{plain}"));
        let behind = Family::gauge("behind_bytes", "").in_unit("bytes");
        assert_eq!(behind.names(Naming::Both), ["behind_bytes"]);
    }

    #[test]
    fn counters_end_with_total_and_openmetrics_names_their_family_without() {
        let write = |page: &mut Page| page.family(&SENT, |series| series.value(&[], 3_u64));
        let classic = page(Format::Prometheus, Naming::Suffixed, write);
        assert_eq!(classic, "# HELP sent_total Messages\n# TYPE sent_total counter\nsent_total{node=\"a\"} 3\n");
        let open = page(Format::OpenMetrics, Naming::Suffixed, write);
        assert_eq!(open, "# HELP sent Messages\n# TYPE sent counter\nsent_total{node=\"a\"} 3\n");
        assert!(Page::new(Format::OpenMetrics, Naming::Plain, 1).finish().ends_with("# EOF\n"));
    }

    #[test]
    fn whatever_a_label_holds_stays_in_its_quotes() {
        let text = page(Format::Prometheus, Naming::Suffixed, |page| {
            page.family(&SENT, |series| series.value(&[("topic", "a\"} 1\n\\ü")], 0.5));
        });
        assert!(text.ends_with("sent_total{node=\"a\",topic=\"a\\\"} 1\\n\\\\ü\"} 0.5\n"), "{text}");
    }

    #[test]
    fn a_family_that_is_too_large_is_cut_and_says_so() {
        let mut page = Page::new(Format::Prometheus, Naming::Both, 2);
        page.family(&LAG, |series| {
            for topic in ["a", "b", "c", "d"] {
                series.value(&[("topic", topic)], 1_u64);
            }
        });
        let text = page.finish();
        assert_eq!(text.matches("lag_latency{").count(), 2);
        assert!(text.ends_with("apogee_metrics_dropped_series{family=\"lag_latency\"} 2\n"), "{text}");
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let times = Family::histogram("times", "Times");
        let histogram = Histogram::new(Scale::NanosAsSeconds, &[1_000_000, 2_500_000_000]);
        histogram.observe(1_000);
        histogram.observe(9_000_000_000);
        let mut page = Page::new(Format::Prometheus, Naming::Suffixed, 100);
        page.family(&times, |series| series.histogram(&[("x", "y")], &histogram));
        let text = page.finish();
        let expected = "times_bucket{x=\"y\",le=\"0.001\"} 1\ntimes_bucket{x=\"y\",le=\"2.5\"} 1\n\
                        times_bucket{x=\"y\",le=\"+Inf\"} 2\ntimes_sum{x=\"y\"} 9.000001\ntimes_count{x=\"y\"} 2\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_format_is_what_the_request_takes() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain", "application/openmetrics-text;q=0, text/plain"] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }
}
