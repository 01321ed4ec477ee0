//! Everything that is shown of a process.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::process;
use crate::text::{Format, Naming, Page};

/// A part of the process that shows series.
pub trait Source: Send + Sync {
    /// Writes its families. Must not wait for the disk or the network, nor for a lock that senders need.
    fn write(&self, page: &mut Page);

    /// Why it cannot serve its clients now, if that is so.
    fn unready(&self) -> Option<String>;
}

/// How series are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether names carry units.
    pub naming: Naming,
    /// Most series of a family.
    pub series_max: usize,
}

impl Default for Options {
    /// As a stock broker: names with units, 50,000 series of a family.
    fn default() -> Options {
        Options { naming: Naming::Suffixed, series_max: 50_000 }
    }
}

/// The answer to a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// What it is (`Content-Type`).
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

/// Everything that is shown of a process, whichever port shows it. Clones show the same.
#[derive(Clone)]
pub struct Exporter(Arc<Shared>);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("options", &self.0.options).finish_non_exhaustive()
    }
}

struct Shared {
    options: Options,
    sources: Mutex<Vec<Arc<dyn Source>>>,
}

impl Exporter {
    /// Shows the process itself.
    pub fn new(options: Options) -> Exporter {
        Exporter(Arc::new(Shared { options, sources: Mutex::default() }))
    }

    /// Shows one more part of the process. No two may write the same family.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.sources().push(source);
    }

    /// Shows what another exporter shows, but for the process.
    pub fn add_all_of(&self, other: &Exporter) {
        let others = other.sources().clone();
        self.sources().extend(others);
    }

    /// Answers a scrape that says what it takes (`Accept`).
    pub fn scrape(&self, accept: &str) -> Scrape {
        let (format, options) = (Format::accepted(accept), &self.0.options);
        let mut page = Page::new(format, options.naming, options.series_max);
        process::write(&mut page);
        let sources = self.sources().clone();
        for source in sources {
            source.write(&mut page);
        }
        Scrape { content_type: format.content_type(), body: page.finish() }
    }

    /// Why the process cannot serve its clients now, if that is so.
    pub fn unready(&self) -> Option<String> {
        let sources = self.sources().clone();
        sources.iter().find_map(|source| source.unready())
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Arc<dyn Source>>> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
