//! Names of files: each says what the file is about, and each file belongs to a crate.

use std::path::{Path, PathBuf};

use super::Finding;
use super::sources::{Source, Sources};

/// Names that say nothing, also as a part of a name.
const EMPTY: [&str; 11] =
    ["util", "utils", "common", "helper", "helpers", "manager", "impl", "impls", "base", "misc", "stuff"];

/// Files that cargo finds by itself.
const ROOTS: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];

/// Checks every Rust file.
pub fn check(sources: &Sources) -> Vec<Finding> {
    sources.rust().flat_map(|source| says_nothing(source).into_iter().chain(belongs_nowhere(source, sources))).collect()
}

fn says_nothing(source: &Source) -> Option<Finding> {
    let stem = source.path.file_stem()?.to_string_lossy().into_owned();
    let empty = stem.split('_').find(|word| EMPTY.contains(word))?;
    let what = format!("`{empty}` does not say what the file is about");
    Some(Finding { path: source.path.clone(), line: 0, what })
}

/// A file in `src` that no module names is never compiled.
fn belongs_nowhere(source: &Source, sources: &Sources) -> Option<Finding> {
    let name = source.path.file_name()?.to_string_lossy().into_owned();
    let folder = source.path.parent()?;
    let parts: Vec<String> = folder.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let at = parts.iter().position(|part| part == "src")?;
    if ROOTS.contains(&name.as_str()) || parts.get(at + 1).is_some_and(|part| part == "bin") {
        return None;
    }
    let (stem, folder) = match name.as_str() {
        "mod.rs" => (folder.file_name()?.to_string_lossy().into_owned(), folder.parent()?),
        name => (name.strip_suffix(".rs")?.to_owned(), folder),
    };
    let named =
        parents(folder).iter().filter_map(|parent| sources.get(parent)).any(|parent| names(&parent.text, &stem));
    let what = "no module names this file, so it is never compiled".to_owned();
    (!named).then(|| Finding { path: source.path.clone(), line: 0, what })
}

/// Files that may name the modules in `folder`.
fn parents(folder: &Path) -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = ["lib.rs", "main.rs", "mod.rs"].iter().map(|name| folder.join(name)).collect();
    parents.push(folder.with_extension("rs"));
    parents
}

fn names(text: &str, module: &str) -> bool {
    let declaration = format!("mod {module};");
    text.lines().any(|line| line.trim_end().ends_with(&declaration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_files(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(path, text)| Source { path: path.into(), text: (*text).into() });
        check(&Sources(sources.collect())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        let found = check_files(&[
            ("src/lib.rs", "mod topic_manager;\nmod implied;"),
            ("src/topic_manager.rs", ""),
            ("src/implied.rs", ""),
        ]);
        assert_eq!(found, ["src/topic_manager.rs: `manager` does not say what the file is about"]);
    }

    #[test]
    fn files_that_nobody_names_are_found() {
        let files = [
            ("src/lib.rs", "pub mod one;\n#[cfg(test)]\npub(crate) mod two;\n"),
            ("src/one.rs", "mod inner;"),
            ("src/one/inner.rs", ""),
            ("src/one/lost.rs", ""),
            ("src/two/mod.rs", ""),
            ("tests/alone.rs", ""),
        ];
        assert_eq!(check_files(&files), ["src/one/lost.rs: no module names this file, so it is never compiled"]);
    }
}
