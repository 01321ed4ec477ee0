//! Finding the key that a name means, or may have been meant to.
use super::{SETTINGS, Setting};

/// How exactly the name of a key must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Letter by letter, as in a stock broker's file.
    Exact,
    /// Without regard to case, dots, underscores and hyphens, as in the environment.
    Folded,
}

/// A key that is not unknown.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// The broker obeys it.
    Setting(&'static Setting),
    /// The broker obeys it; the name is the one of old files.
    OldName(&'static Setting),
    /// A stock broker knows it; here it means nothing.
    WithoutEffect(&'static str),
}

/// Looks for a key.
pub fn find(name: &str, spelling: Spelling) -> Option<Known> {
    let matches = |key: &str| match spelling {
        Spelling::Exact => key == name,
        Spelling::Folded => folded(key) == folded(name),
    };
    let setting = SETTINGS.iter().find_map(|setting| match setting.old {
        _ if matches(setting.key) => Some(Known::Setting(setting)),
        Some(old) if matches(old) => Some(Known::OldName(setting)),
        _ => None,
    });
    setting.or_else(|| without_effect().find(|key| matches(key)).map(Known::WithoutEffect))
}

/// The known key that is most like `name`, unless none is much like it.
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, SETTINGS.iter().map(|setting| setting.key).chain(without_effect()))
}

/// The one of these keys that is most like `name`, unless none is much like it.
pub fn nearest_of(name: &str, keys: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let name = folded(name);
    let (distance, key) = keys.map(|key| (distance(&name, &folded(key)), key)).min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().max(key.len()) / 3).then_some(key)
}

/// Keys that a stock broker knows and that have no meaning here, in order.
pub fn without_effect() -> impl Iterator<Item = &'static str> {
    include_str!("../upstream-keys.txt").lines().filter(|line| !line.starts_with('#'))
}

/// The name in the form in which case, dots, underscores and hyphens make no difference.
pub fn folded(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '.' | '_' | '-')).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Letters to insert, delete, replace or swap to make one of the other. A name of which only the start or the end is
/// missing counts as near, whatever the length of the rest.
fn distance(a: &str, b: &str) -> usize {
    const PART_DISTANCE: usize = 2;
    const PART_LENGTH_MIN: usize = 6;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if 1 < i && 1 < j && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    let (short, long) = if a.len() < b.len() { (&a, &b) } else { (&b, &a) };
    let part = PART_LENGTH_MIN <= short.len() && (long.starts_with(short) || long.ends_with(short));
    if part { last[b.len()].min(PART_DISTANCE) } else { last[b.len()] }
}
