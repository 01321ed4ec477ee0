//! Transcripts of the official mqadmin.

use std::path::Path;

/// One run.
#[derive(Debug, Default)]
pub struct Run {
    /// The command line as recorded, from `mqadmin` on.
    pub line: String,
    /// Standard output.
    pub stdout: String,
    /// Whether it printed something on standard error, which is how a failure is told.
    pub failed: bool,
    /// Content of the file that it wrote.
    pub file: Option<String>,
}

impl Run {
    /// The words after `mqadmin`; those in single quotes are one.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in self.line.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words.remove(0);
        words
    }
}

/// All runs of a folder of transcripts.
pub fn read(folder: &Path) -> Vec<Run> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let transcript = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".txt") && !name.starts_with('_')
    };
    let mut files: Vec<_> = files.filter(transcript).collect();
    files.sort();
    files.iter().flat_map(|path| runs(&std::fs::read_to_string(path).unwrap())).collect()
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            runs.push(Run { line: command.to_owned(), ..Run::default() });
            section = "head";
            continue;
        }
        let Some(run) = runs.last_mut() else { continue };
        match line {
            "----- stdout" => section = "stdout",
            "----- stderr" => (section, run.failed) = ("stderr", true),
            _ if line.starts_with("----- file") => {
                section = "file";
                run.file = Some(String::new());
            }
            "(no newline at the end)" => {}
            _ => match (section, &mut run.file) {
                ("stdout", _) => run.stdout.extend([line, "\n"]),
                ("file", Some(file)) => file.extend([line, "\n"]),
                _ => {}
            },
        }
    }
    runs
}
