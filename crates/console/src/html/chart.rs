//! Lines of the last hour, drawn here as SVG: they need no script, and take their colours from the style sheet.

use maud::{Markup, html};

use crate::cluster::series::{POINTS, STEP};
use crate::show;
use crate::viewer::Viewer;

/// Drawing units: a point of a series is one wide.
const WIDTH: usize = POINTS - 1;
const HEIGHT: f32 = 60.0;

/// A line.
#[derive(Debug)]
pub struct Line<'a> {
    /// What it is.
    pub name: &'a str,
    /// Class that gives it its colour and dashes.
    pub class: &'a str,
    /// Points, oldest first; gaps stay gaps.
    pub points: Vec<Option<f32>>,
}

/// A chart of several lines over one hour; `write` writes their values.
pub fn chart(viewer: &Viewer, title: &str, lines: &[Line<'_>], write: impl Fn(f64) -> String) -> Markup {
    let known = || lines.iter().flat_map(|line| line.points.iter().flatten().copied());
    if known().count() < 2 {
        return html! {
            figure.chart { figcaption { (title) } p.faint { (viewer.language.chart_begins()) } }
        };
    }
    let top = known().fold(0.0_f32, f32::max);
    let scale = if top <= 0.0 { 1.0 } else { top };
    let latest = |line: &Line<'_>| line.points.last().copied().flatten().map(|value| write(f64::from(value)));
    html! {
        figure.chart {
            figcaption {
                (title)
                span.legend {
                    @for line in lines {
                        span.(line.class) {
                            svg.swatch viewBox="0 0 16 4" aria-hidden="true" { line x1="0" y1="2" x2="16" y2="2" {} }
                            (line.name) " " b { (latest(line).unwrap_or_else(|| show::UNKNOWN.to_owned())) }
                        }
                    }
                }
            }
            div.plot {
                span.scale { (write(f64::from(scale))) }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(title) {
                    line.grid x1="0" y1="0" x2=(WIDTH) y2="0" {}
                    line.grid x1="0" y1=(HEIGHT / 2.0) x2=(WIDTH) y2=(HEIGHT / 2.0) {}
                    line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
                    @for line in lines { path.(line.class) d=(path(&line.points, scale)) {} }
                }
                div.span { span { "−" (show::duration((STEP * POINTS as u32).as_millis() as i64)) } span { (viewer.language.now()) } }
            }
        }
    }
}

/// A line as small as a word.
pub fn spark(points: &[Option<f32>], title: &str) -> Markup {
    let top = points.iter().flatten().copied().fold(0.0_f32, f32::max);
    html! {
        @if 1 < points.iter().flatten().count() {
            svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(title) {
                path d=(path(points, if top <= 0.0 { 1.0 } else { top })) {}
            }
        }
    }
}

/// The newest point is at the right edge, however many there are.
fn path(points: &[Option<f32>], top: f32) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    let first = POINTS.saturating_sub(points.len());
    for (at, point) in points.iter().enumerate() {
        let Some(value) = point else {
            is_drawing = false;
            continue;
        };
        let command = if is_drawing { 'L' } else { 'M' };
        let y = HEIGHT - (value / top).clamp(0.0, 1.0) * (HEIGHT - 2.0) - 1.0;
        path.push_str(&format!("{command}{} {y:.1}", first + at));
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_gaps_and_the_newest_point_is_at_the_edge() {
        assert_eq!(path(&[Some(1.0), None, Some(0.0), Some(1.0)], 1.0), "M236 1.0M238 59.0L239 1.0");
        assert_eq!(path(&[], 1.0), "");
    }
}
