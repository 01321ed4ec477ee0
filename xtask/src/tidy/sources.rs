//! The text files of the workspace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written by us.
const PASSED_OVER: [&str; 5] = ["target", ".git", "data", "node_modules", "rival"];

/// Endings of files that are looked at.
const ENDINGS: [&str; 9] = ["rs", "toml", "md", "sh", "py", "go", "yml", "yaml", "conf"];

/// A text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path below the workspace.
    pub path: PathBuf,
    /// Content.
    pub text: String,
}

impl Source {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "rs")
    }
}

/// All text files.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Reads the workspace that this program belongs to.
    pub fn of_workspace() -> io::Result<Sources> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let mut sources = Sources::default();
        sources.read_folder(&root, &root)?;
        sources.0.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(sources)
    }

    fn read_folder(&mut self, root: &Path, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() && !PASSED_OVER.contains(&name.as_str()) {
                self.read_folder(root, &path)?;
            }
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if kind.is_file()
                && ENDINGS.contains(&ending.as_str())
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
                self.0.push(Source { path, text });
            }
        }
        Ok(())
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(|source| source.is_rust())
    }

    /// The file of that path.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Source> {
        self.0.iter().find(|source| source.path == path.as_ref())
    }
}
