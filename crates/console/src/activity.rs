//! What was changed through the console, by whom and with what result: lines of JSON in the console's folder.
//!
//! ```json
//! {"number":7,"at":1796000000000,"user":"admin","address":"10.0.0.1","action":"topic.change","path":"/topics/orders/edit",…}
//! ```
//!
//! A file that is full becomes the old one, and the old one before it goes: the newest [`FILE_MAX`] bytes are always
//! there, and never more than twice as many.

pub mod deed;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file that is written.
const FILE: &str = "activity.jsonl";

/// The one before it.
const OLD_FILE: &str = "activity.old.jsonl";

/// Bytes after which a new file begins.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Most bytes of one line that are read; none that is written is near it.
const LINE_MAX: u64 = 1024 * 1024;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Came {
    /// All of it was done.
    Done,
    /// Some nodes did it, others did not.
    Partly,
    /// Nothing was done: refused, or nobody did it.
    Failed,
}

impl Came {
    /// All of them.
    pub const ALL: [Came; 3] = [Came::Done, Came::Partly, Came::Failed];

    /// As files and addresses name it.
    pub fn name(self) -> &'static str {
        match self {
            Came::Done => "done",
            Came::Partly => "partly",
            Came::Failed => "failed",
        }
    }

    /// The result of that name.
    pub fn of_name(name: &str) -> Option<Came> {
        Came::ALL.into_iter().find(|came| came.name() == name)
    }
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Broker or nameserver.
    pub node: String,
    /// Why it did not; `None` if it did.
    pub error: Option<String>,
}

/// One change, or an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up from 1 and is never given twice in one folder.
    #[serde(default)]
    pub number: u64,
    /// When it was asked for, in milliseconds since 1970.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// Who; `None` for somebody without a login.
    pub user: Option<String>,
    /// Id of the token, where a program sent one.
    #[serde(default)]
    pub token: Option<String>,
    /// From where.
    pub address: IpAddr,
    /// What kind of change, such as `topic.change`.
    pub action: String,
    /// What it was about: the path of the request, without the console's base path.
    pub path: String,
    /// What was there before, where it was known.
    pub before: Option<Value>,
    /// What was asked for. Passwords and message bodies are left out.
    pub after: Option<Value>,
    /// HTTP status of the answer.
    pub status: u16,
    /// What came of it.
    pub result: Came,
    /// The same in words.
    pub detail: Option<String>,
    /// Node by node.
    #[serde(default)]
    pub nodes: Vec<NodeResult>,
}

/// Which entries are wanted; empty texts want all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the user.
    pub user: String,
    /// What the action begins with: `topic`, or `topic.delete`.
    pub action: String,
    /// Part of the path, in any case.
    pub text: String,
    /// What came of it.
    pub result: Option<Came>,
    /// First time, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// First time that is no longer wanted, in milliseconds since 1970.
    pub to_ms: Option<i64>,
    /// Only entries with a smaller number.
    pub before: Option<u64>,
}

impl Wanted {
    fn wants(&self, entry: &Entry) -> bool {
        (self.user.is_empty() || entry.user.as_deref() == Some(&self.user))
            && entry.action.starts_with(&self.action)
            && (self.text.is_empty() || entry.path.to_lowercase().contains(&self.text.to_lowercase()))
            && self.result.is_none_or(|result| entry.result == result)
            && self.from_ms.is_none_or(|from_ms| from_ms <= entry.at_ms)
            && self.to_ms.is_none_or(|to_ms| entry.at_ms < to_ms)
            && self.before.is_none_or(|before| entry.number < before)
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be {done}")]
pub struct ActivityError {
    path: PathBuf,
    done: &'static str,
    #[source]
    source: io::Error,
}

/// The files. Whoever holds it writes alone.
#[derive(Debug)]
pub struct Activity {
    folder: PathBuf,
    file: File,
    bytes: u64,
    next: u64,
    file_max: u64,
}

impl Activity {
    /// Goes on with the files in `folder`, or begins them.
    pub fn open(folder: &Path) -> Result<Activity, ActivityError> {
        Activity::with_limit(folder, FILE_MAX)
    }

    fn with_limit(folder: &Path, file_max: u64) -> Result<Activity, ActivityError> {
        let path = folder.join(FILE);
        let failed = |done| move |source| ActivityError { path: path.clone(), done, source };
        std::fs::create_dir_all(folder).map_err(failed.clone()("written"))?;
        let mut next = 1;
        for_each(folder, |entry| next = next.max(entry.number.saturating_add(1))).map_err(failed.clone()("read"))?;
        let (file, bytes) = begin(folder).map_err(failed("written"))?;
        Ok(Activity { folder: folder.to_owned(), file, bytes, next, file_max })
    }

    /// Appends an entry, which gets its number here.
    pub fn append(&mut self, mut entry: Entry) -> Result<(), ActivityError> {
        entry.number = self.next;
        let write = |activity: &mut Activity| -> io::Result<()> {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            if activity.file_max < activity.bytes + line.len() as u64 && 0 < activity.bytes {
                std::fs::rename(activity.folder.join(FILE), activity.folder.join(OLD_FILE))?;
                (activity.file, activity.bytes) = begin(&activity.folder)?;
            }
            // One write: an entry that is cut short by a full disk does not run into the next.
            let written = activity.file.write_all(&line);
            if written.is_err() {
                activity.file.set_len(activity.bytes)?;
            }
            written?;
            activity.bytes += line.len() as u64;
            Ok(())
        };
        let written = write(self);
        self.next += 1;
        written.map_err(|source| ActivityError { path: self.folder.join(FILE), done: "written", source })
    }

    /// Where the files are, for [`newest`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The newest `most` entries that are wanted, newest first. Takes its time: reads the files.
pub fn newest(folder: &Path, wanted: &Wanted, most: usize) -> Result<Vec<Entry>, ActivityError> {
    let mut found = std::collections::VecDeque::new();
    let keep = |entry: Entry| {
        if wanted.wants(&entry) && 0 < most {
            if most <= found.len() {
                found.pop_front();
            }
            found.push_back(entry);
        }
    };
    for_each(folder, keep).map_err(|source| ActivityError { path: folder.join(FILE), done: "read", source })?;
    Ok(found.into_iter().rev().collect())
}

/// Opens the file for appending; a line that a crash cut short is ended first.
fn begin(folder: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(folder.join(FILE))?;
    let mut bytes = file.metadata()?.len();
    if 0 < bytes {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            bytes += 1;
        }
    }
    Ok((file, bytes))
}

/// Reads both files, oldest entry first. Lines that are none are passed over.
fn for_each(folder: &Path, mut take: impl FnMut(Entry)) -> io::Result<()> {
    for name in [OLD_FILE, FILE] {
        let file = match File::open(folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while 0 < (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)? {
            if let Ok(entry) = serde_json::from_slice(&line) {
                take(entry);
            }
            line.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ms: i64, user: &str, action: &str) -> Entry {
        Entry {
            number: 0,
            at_ms,
            user: Some(user.to_owned()),
            token: None,
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            action: action.to_owned(),
            path: format!("/topics/Orders-{at_ms}/edit"),
            before: None,
            after: Some(serde_json::json!({ "read": "4" })),
            status: 303,
            result: if at_ms % 2 == 0 { Came::Done } else { Came::Failed },
            detail: None,
            nodes: vec![NodeResult { node: "a/0".to_owned(), error: None }],
        }
    }

    fn numbers(folder: &Path, wanted: &Wanted, most: usize) -> Vec<u64> {
        newest(folder, wanted, most).unwrap().iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn entries_are_kept_over_a_restart_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut activity = Activity::open(folder.path()).unwrap();
        activity.append(entry(1, "admin", "topic.change")).unwrap();
        activity.append(entry(2, "ops", "group.reset")).unwrap();
        drop(activity);
        let mut again = Activity::open(folder.path()).unwrap();
        again.append(entry(3, "admin", "topic.delete")).unwrap();
        let all = newest(folder.path(), &Wanted::default(), 10).unwrap();
        assert_eq!(all.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(all[1], Entry { number: 2, ..entry(2, "ops", "group.reset") });
    }

    #[test]
    fn filters_find_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let mut activity = Activity::open(folder.path()).unwrap();
        for (at_ms, user, action) in
            [(1, "admin", "topic.change"), (2, "ops", "group.reset"), (3, "ops", "topic.delete")]
        {
            activity.append(entry(at_ms, user, action)).unwrap();
        }
        let check = |wanted: Wanted, expected: &[u64]| {
            assert_eq!(numbers(folder.path(), &wanted, 10), expected, "{wanted:?}");
        };
        check(Wanted { user: "ops".into(), ..Wanted::default() }, &[3, 2]);
        check(Wanted { action: "topic".into(), ..Wanted::default() }, &[3, 1]);
        check(Wanted { text: "orders-2".into(), ..Wanted::default() }, &[2]);
        check(Wanted { result: Some(Came::Done), ..Wanted::default() }, &[2]);
        check(Wanted { from_ms: Some(2), to_ms: Some(3), ..Wanted::default() }, &[2]);
        check(Wanted { before: Some(3), ..Wanted::default() }, &[2, 1]);
        assert_eq!(numbers(folder.path(), &Wanted::default(), 2), [3, 2]);
        assert!(numbers(folder.path(), &Wanted::default(), 0).is_empty());
    }

    #[test]
    fn two_files_are_the_most_and_the_newest_entries_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut activity = Activity::with_limit(folder.path(), 2000).unwrap();
        for at_ms in 0..100 {
            activity.append(entry(at_ms, "admin", "topic.change")).unwrap();
        }
        let bytes: u64 =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!((2000..=4000).contains(&bytes), "{bytes}");
        let kept = numbers(folder.path(), &Wanted::default(), 1000);
        assert_eq!(kept[0], 100);
        assert!(kept.windows(2).all(|pair| pair[0] == pair[1] + 1), "{kept:?}");
        assert_eq!(Activity::open(folder.path()).unwrap().next, 101);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut activity = Activity::open(folder.path()).unwrap();
        activity.append(entry(1, "admin", "topic.change")).unwrap();
        activity.append(entry(2, "admin", "topic.change")).unwrap();
        drop(activity);
        let path = folder.path().join(FILE);
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
        let mut again = Activity::open(folder.path()).unwrap();
        again.append(entry(3, "admin", "topic.change")).unwrap();
        let all = newest(folder.path(), &Wanted::default(), 10).unwrap();
        assert_eq!(all.iter().map(|entry| entry.at_ms).collect::<Vec<_>>(), [3, 1]);
    }
}
