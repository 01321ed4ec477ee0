//! Data folders as text, so that a repository can keep them and a reader can see what is in them.
//!
//! ```text
//! note <name> <numbers>     something that a test has to know of the folder
//! file <path> <bytes>       a file; what no line below it gives is zero
//! @<byte>                   the next lines lie from this byte on
//! <hex digits>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// A run of so many zeros is left out.
const ZEROS_MIN: usize = 32;
/// Bytes on one line.
const LINE_BYTES: usize = 56;

/// A folder that was read from its text, or will be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptFolder {
    pub notes: BTreeMap<String, Vec<i64>>,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl KeptFolder {
    /// The files below a folder.
    pub fn of(folder: &Path) -> KeptFolder {
        let mut kept = KeptFolder::default();
        kept.add(folder, folder);
        kept
    }

    fn add(&mut self, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add(root, &path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                self.files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }

    /// Writes the files.
    pub fn unpack(&self, folder: &Path) {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// The folder as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, numbers) in &self.notes {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            writeln!(text, "note {name} {}", numbers.join(" ")).unwrap();
        }
        for (name, bytes) in &self.files {
            writeln!(text, "file {name} {}", bytes.len()).unwrap();
            let mut at = 0;
            while let Some(from) = bytes[at..].iter().position(|byte| *byte != 0).map(|skipped| at + skipped) {
                let to = end_of_run(bytes, from);
                writeln!(text, "@{from}").unwrap();
                for line in bytes[from..to].chunks(LINE_BYTES) {
                    line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                    text.push('\n');
                }
                at = to;
            }
        }
        text
    }

    /// Reads what [`KeptFolder::text`] wrote.
    pub fn parse(text: &str) -> KeptFolder {
        let mut kept = KeptFolder::default();
        let (mut name, mut at) = (String::new(), 0);
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["note", name, ref numbers @ ..] => {
                    let numbers = numbers.iter().map(|number| number.parse().unwrap()).collect();
                    kept.notes.insert(name.to_owned(), numbers);
                }
                ["file", path, bytes] => {
                    name = path.to_owned();
                    kept.files.insert(name.clone(), vec![0; bytes.parse().unwrap()]);
                }
                [word] if word.starts_with('@') => at = word[1..].parse().unwrap(),
                [digits] => {
                    let file = kept.files.get_mut(&name).unwrap();
                    for pair in 0..digits.len() / 2 {
                        file[at] = u8::from_str_radix(&digits[2 * pair..2 * pair + 2], 16).unwrap();
                        at += 1;
                    }
                }
                _ => panic!("`{line}` is no line of a kept folder"),
            }
        }
        kept
    }
}

/// Where the bytes that begin at `from` come to an end, or to many zeros.
fn end_of_run(bytes: &[u8], from: usize) -> usize {
    let mut end = from;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        if *byte != 0 {
            end = at + 1;
        } else if ZEROS_MIN <= at - end {
            break;
        }
    }
    end
}

#[test]
fn a_folder_is_the_same_after_it_was_text() {
    let file = [&[1; 3][..], &[0; 100], &[2; 200], &[0; 20], &[3], &[0; 40]].concat();
    let files = BTreeMap::from([("a/b".to_owned(), file), ("empty".to_owned(), Vec::new())]);
    let kept = KeptFolder { notes: BTreeMap::from([("half".to_owned(), vec![1, -2])]), files };
    let text = kept.text();
    assert_eq!(KeptFolder::parse(&text), kept);
    assert!(text.contains("\n@103\n"), "{text}");
}
