//! Versions of the files on disk.
//!
//! Each format begins with a magic number whose last byte is the version, a digit. Magic number and checksum stay where
//! they are in every version to come, so an older program can tell a newer file from a damaged one: the checksum fits.
//! What is newer is refused before anything is changed; the rules are in `docs/formats/log.md`.

use std::io;

use crate::disk::{Disk, read_all};
use crate::segment::u32_at;
use crate::{checkpoint, due_index, key_index, queue_index, segment};

/// A file that a later version of this program wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{file}` has format version {found}; this program reads versions up to {supported}")]
pub struct NewerFormat {
    /// The file, below the folder of the log.
    pub file: String,
    /// Its version.
    pub found: char,
    /// The newest version that can be read.
    pub supported: char,
}

/// Refuses `head`, the first bytes of `file`, if they begin as `magic` does but name a later version.
pub fn refuse_newer(file: &str, head: &[u8], magic: &[u8]) -> Result<(), NewerFormat> {
    let Some((supported, name)) = magic.split_last() else { return Ok(()) };
    match head.strip_prefix(name).and_then(|rest| rest.first()) {
        Some(found) if found.is_ascii_alphanumeric() && supported < found => {
            let [found, supported] = [*found, *supported].map(char::from);
            Err(NewerFormat { file: file.to_owned(), found, supported })
        }
        _ => Ok(()),
    }
}

/// Where the checksum lies that shows a file's beginning whole.
#[derive(Clone, Copy)]
enum Sum {
    /// At this byte, over all bytes before.
    At(usize),
    /// At the end, over all bytes before.
    AtEnd,
}

/// A folder of files of one format.
struct Format {
    dir: &'static str,
    magic: &'static [u8],
    sum: Sum,
}

/// Formats of the files that are in folders.
const FORMATS: [Format; 4] = [
    Format { dir: segment::DIR, magic: segment::HEADER_MAGIC, sum: Sum::At(segment::HEADER_CRC_AT) },
    Format { dir: queue_index::files::DIR, magic: queue_index::item::MAGIC, sum: Sum::At(queue_index::item::CRC_AT) },
    Format { dir: key_index::DIR, magic: key_index::MAGIC, sum: Sum::At(key_index::PAGE_CRC_AT) },
    Format { dir: due_index::DIR, magic: due_index::MAGIC, sum: Sum::At(due_index::CRC_AT) },
];

/// Looks at every file that has a version.
pub(crate) fn check(disk: &dyn Disk) -> io::Result<Result<(), NewerFormat>> {
    let mut files = vec![(checkpoint::PATH.to_owned(), checkpoint::MAGIC.as_slice(), Sum::AtEnd)];
    for Format { dir, magic, sum } in &FORMATS {
        // A segment in the making and a spare hold what they held in a former life.
        let names = disk.list(dir)?.into_iter().filter(|name| name.bytes().any(|byte| byte.is_ascii_digit()));
        let names = names.filter(|name| *dir != segment::DIR || segment::base_of(name).is_some());
        files.extend(names.map(|name| (format!("{dir}/{name}"), *magic, *sum)));
    }
    for (path, magic, sum) in files {
        if let Some(head) = whole_head(disk, &path, sum)?
            && let Err(newer) = refuse_newer(&path, &head, magic)
        {
            return Ok(Err(newer));
        }
    }
    Ok(Ok(()))
}

/// The beginning of a file up to its checksum; `None` when that does not fit, or there is no such file.
fn whole_head(disk: &dyn Disk, path: &str, sum: Sum) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = match sum {
        Sum::At(at) => {
            let mut bytes = vec![0; at + 4];
            let read = file.read_at(&mut bytes, 0)?;
            bytes.truncate(read);
            if read < at + 4 { Vec::new() } else { bytes }
        }
        Sum::AtEnd => read_all(&*file)?,
    };
    let Some((content, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    Ok((crc32fast::hash(content) == u32_at(crc, 0)).then(|| content.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_version_of_the_same_format_is_refused() {
        for fine in [&b"APOGLOG1"[..], b"APOGLOG0", b"APOGKEY2", b"APOGLOG", b"APOGLOG\0", b"", b"APOGLOG\xFF"] {
            assert_eq!(refuse_newer("f", fine, b"APOGLOG1"), Ok(()), "{fine:?}");
        }
        let newer = refuse_newer("f", b"APOGLOG2 and more", b"APOGLOG1").unwrap_err();
        assert_eq!(newer.to_string(), "`f` has format version 2; this program reads versions up to 1");
    }
}
