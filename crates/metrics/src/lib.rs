//! Counts what happens, and shows it to Prometheus.
//!
//! What the busy paths touch is [`histogram`]: atomic numbers, no lock, no look-up by name. Everything else is computed
//! when somebody asks: an [`exporter::Exporter`] lets its sources write their families into one [`text::Page`], on the
//! thread of the [`port::Port`], which serves nothing else.

pub mod exporter;
pub mod histogram;
pub mod lint;
pub mod port;
mod process;
pub mod stopwatch;
pub mod text;

pub use exporter::{Exporter, Options, Source};
pub use histogram::Histogram;
pub use stopwatch::Stopwatch;
pub use text::{Family, Format, Naming, Page, Series};
