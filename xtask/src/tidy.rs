//! House rules that a machine can keep.

mod arrows;
mod leftovers;
mod length;
mod names;
mod sources;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use sources::Sources;

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File, below the workspace.
    pub path: PathBuf,
    /// Line, from 1; 0 means the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

/// Checks everything and prints what it finds.
pub fn run() -> ExitCode {
    let sources = match Sources::of_workspace() {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: the workspace cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut findings = arrows::check(&sources);
    findings.extend(names::check(&sources));
    findings.extend(leftovers::check(&sources));
    findings.sort();
    length::print(&sources);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy");
            ExitCode::SUCCESS
        }
        count => {
            println!("{count} rules are broken");
            ExitCode::FAILURE
        }
    }
}
