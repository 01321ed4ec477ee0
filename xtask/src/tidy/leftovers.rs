//! What is not meant to stay: unfinished code, tests that do not run, paths of one machine.

use super::Finding;
use super::sources::{Source, Sources};

/// Folder of files that others wrote and that are kept as they are.
const GOLDEN: &str = "golden";

/// Checks every line of every file of ours.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let ours = sources.0.iter().filter(|source| !source.path.iter().any(|part| part == GOLDEN));
    ours.flat_map(check_file).collect()
}

/// Patterns in Rust, and what is wrong with them. Written in two parts, so that this file does not break its rules.
const IN_RUST: [(&str, &str, &str); 5] = [
    ("#[ign", "ore", "a test that does not run"),
    ("todo", "!(", "unfinished code"),
    ("unimplemented", "!(", "unfinished code"),
    ("dbg", "!(", "a print for debugging"),
    ("FIX", "ME", "unfinished code"),
];

/// Beginnings of paths that exist on one machine only, in two parts as well.
const MACHINE_PATHS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

fn check_file(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let mut found = |what: String| findings.push(Finding { path: source.path.clone(), line: number + 1, what });
        for (start, end, what) in IN_RUST {
            if source.is_rust() && line.contains(&format!("{start}{end}")) {
                found(what.to_owned());
            }
        }
        for (start, end) in MACHINE_PATHS {
            if starts_a_path(line, &format!("{start}{end}")) {
                found(format!("a path of one machine: `{start}{end}`"));
            }
        }
    }
    findings
}

/// What follows where the path is one of every image of stock brokers.
const IN_STOCK_IMAGES: [&str; 3] = ["rocketmq/", "store`", "store\""];

/// Whether the pattern stands at the start of a path, and not in the middle of one.
fn starts_a_path(line: &str, pattern: &str) -> bool {
    let of_machine = |(at, _): &(usize, &str)| {
        let rest = &line[at + pattern.len()..];
        !IN_STOCK_IMAGES.iter().any(|stock| rest.starts_with(stock))
    };
    line.match_indices(pattern).filter(of_machine).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '.' | '_' | '-' | '}' | '/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str) -> Vec<String> {
        check_file(&Source { path: path.into(), text: text.into() }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        let text = format!("fn a() {{\n    {}{}\n}}\n#[ign{}]\n", "todo", "!()", "ore");
        assert_eq!(check_text("a.rs", &text), ["a.rs:2: unfinished code", "a.rs:4: a test that does not run"]);
        assert_eq!(check_text("a.md", &text).len(), 0);
    }

    #[test]
    fn paths_of_one_machine_are_told_from_others() {
        let (start, end) = MACHINE_PATHS[1];
        assert_eq!(
            check_text("a.md", &format!("see `{start}{end}x`")),
            [format!("a.md:1: a path of one machine: `{start}{end}`")]
        );
        assert_eq!(check_text("a.md", &format!("see `{start}{end}rocketmq/store`")).len(), 0);
        assert_eq!(check_text("a.md", &format!("see docs{start}{end}x and https:/{start}{end}y")).len(), 0);
    }
}
