//! The longest files and functions. Nothing is forbidden: the list shows where care is due first.

use std::path::Path;

use super::sources::{Source, Sources};

/// How many of each are listed.
const LISTED: usize = 10;

/// Lines above which a function is marked.
const FUNCTION_LINES_MAX: usize = 70;

/// A function, found by the way rustfmt lays code out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Line on which it starts, from 1.
    line: usize,
    /// Lines from its first to its last.
    length: usize,
}

/// Prints both lists.
pub fn print(sources: &Sources) {
    let mut files: Vec<(usize, &Path)> =
        sources.rust().map(|source| (source.text.lines().count(), source.path.as_path())).collect();
    files.sort_by(|one, other| other.cmp(one));
    println!("longest files");
    for (length, path) in files.iter().take(LISTED) {
        println!("  {length:5}  {}", path.display());
    }
    let mut found: Vec<(&Source, Function)> = sources
        .rust()
        .flat_map(|source| functions(&source.text).into_iter().map(move |function| (source, function)))
        .collect();
    found.sort_by_key(|(_, function)| std::cmp::Reverse(function.length));
    println!("longest functions");
    for (source, Function { name, line, length }) in found.iter().take(LISTED) {
        let mark = if *length > FUNCTION_LINES_MAX { "  too long" } else { "" };
        println!("  {length:5}  {}:{line} {name}{mark}", source.path.display());
    }
}

/// Functions that end with a brace as far left as they begin.
fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let one_line = line.ends_with('}') || line.ends_with(';');
        let last = if one_line { Some(0) } else { lines[at..].iter().position(|line| *line == end) };
        if let Some(last) = last {
            found.push(Function { name: name.to_owned(), line: at + 1, length: last + 1 });
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    if !before.split_whitespace().all(|word| words.contains(&word)) {
        return None;
    }
    let name = after.split(['(', '<']).next()?;
    (!name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_their_first_line_to_their_brace() {
        let text = "impl A {\n    pub async fn one<T>(\n        a: T,\n    ) -> T {\n        a\n    }\n    fn two() {}\n}\n// fn no(\nfn three();\n";
        let found: Vec<_> = functions(text).into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("one".into(), 2, 5), ("two".into(), 7, 1), ("three".into(), 10, 1)]);
    }
}
