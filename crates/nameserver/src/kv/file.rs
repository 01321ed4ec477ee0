//! The table on disk: a file that is always whole, and the one before it.
//!
//! A new text goes to `<file>.tmp`, is synced, and takes the place of `<file>`, which becomes `<file>.bak`. A crash
//! between the two renames leaves `<file>.bak` alone; reading falls back on it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{KvFileError, KvTable};

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A later version of this program wrote it.
    #[error("`{}` has format version {found}; this program reads versions up to {supported}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that can be read.
        supported: i64,
    },
    /// What is in it is no table.
    #[error("{path} is broken: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What was found on disk.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The table; empty when there is none.
    pub table: KvTable,
    /// Files that could not be used, each to be reported.
    pub errors: Vec<LoadError>,
    /// Whether the table is the one before the last.
    pub from_backup: bool,
}

/// Reads the table. A broken file is set aside as `<file>.broken`, so that the next change does not overwrite the
/// good backup with it. One of a later version is refused, and everything stays as it is.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    match read(path) {
        Ok(Some(table)) => return Ok(Loaded { table, ..loaded }),
        Ok(None) => {}
        Err(error @ LoadError::Newer { .. }) => return Err(error),
        Err(error) => {
            // What cannot be moved is overwritten by the next change; there is no better place for it.
            let _ = fs::rename(path, beside(path, "broken"));
            loaded.errors.push(error);
        }
    }
    match read(&beside(path, "bak")) {
        Ok(Some(table)) => return Ok(Loaded { table, from_backup: true, ..loaded }),
        Ok(None) => {}
        Err(error @ LoadError::Newer { .. }) => return Err(error),
        Err(error) => loaded.errors.push(error),
    }
    Ok(loaded)
}

/// Refuses files of a later version, and changes nothing.
pub fn refuse_newer(path: &Path) -> Result<(), LoadError> {
    for path in [path, &beside(path, "bak")] {
        if let Err(error @ LoadError::Newer { .. }) = read(path) {
            return Err(error);
        }
    }
    Ok(())
}

/// Writes the table. When this fails, [`load`] finds the table before, or this one whole.
pub fn save(path: &Path, table: &KvTable) -> io::Result<()> {
    replace(path, &table.encode(), Some(&beside(path, "bak")))
}

/// Puts `content` into a file so that after a crash either the old or the new one is there, whole. The old one is kept as
/// `backup`, if that is wanted.
pub fn replace(path: &Path, content: &[u8], backup: Option<&Path>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = beside(path, "tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    // The bytes must be on disk before the name points to them.
    file.sync_all()?;
    match backup.map(|backup| fs::rename(path, backup)) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&temporary, path)?;
    // A rename is in the folder, and the folder is on disk only after this.
    File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<Option<KvTable>, LoadError> {
    match fs::read(path) {
        Ok(text) => KvTable::decode(&text).map(Some).map_err(|error| match error {
            KvFileError::Newer { found, supported } => LoadError::Newer { path: path.into(), found, supported },
            KvFileError::Body(error) => LoadError::Broken { path: path.into(), reason: error.to_string() },
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Io { path: path.into(), source }),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::kv::KvChange;

    fn table(value: &str) -> KvTable {
        let mut table = KvTable::default();
        table.apply(&KvChange::Put { namespace: "n".into(), key: "k".into(), value: value.into() }).unwrap();
        table
    }

    fn saved(values: &[&str]) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("namesrv").join("kvConfig.json");
        for value in values {
            save(&path, &table(value)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn no_file_is_an_empty_table() {
        let (_folder, path) = saved(&[]);
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (KvTable::default(), 0, false));
    }

    #[test]
    fn the_last_table_is_read_and_the_one_before_is_kept() {
        let (_folder, path) = saved(&["1", "2"]);
        assert_eq!(load(&path).unwrap().table, table("2"));
        assert_eq!(read(&beside(&path, "bak")).unwrap(), Some(table("1")));
        assert!(!beside(&path, "tmp").exists());
    }

    /// As a crash may leave them, between any two steps of [`save`].
    #[test]
    fn a_crash_while_saving_loses_at_most_the_change_that_was_not_answered() {
        let (_folder, path) = saved(&["1", "2"]);
        fs::write(beside(&path, "tmp"), b"{\"config").unwrap();
        assert_eq!(load(&path).unwrap().table, table("2"));
        fs::rename(&path, beside(&path, "bak")).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (table("2"), 0, true));
        save(&path, &table("3")).unwrap();
        assert_eq!(load(&path).unwrap().table, table("3"));
    }

    #[test]
    fn a_broken_file_is_set_aside_and_the_backup_read() {
        for broken in [&b""[..], b"{\"configTable\":", b"\0\0\0\0", b"[]", b"{\"configTable\":{\"n\":7}}"] {
            let (_folder, path) = saved(&["1", "2"]);
            fs::write(&path, broken).unwrap();
            let loaded = load(&path).unwrap();
            assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (table("1"), 1, true));
            assert_eq!(fs::read(beside(&path, "broken")).unwrap(), broken);
            save(&path, &table("3")).unwrap();
            assert_eq!(read(&beside(&path, "bak")).unwrap(), Some(table("1")));
        }
    }

    #[test]
    fn a_file_of_the_first_version_is_read_and_written_as_it_was() {
        let text = r#"{"configTable":{"n":{"k":"1"}}}"#;
        let (_folder, path) = saved(&["1"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::write(&path, text).unwrap();
        assert_eq!(load(&path).unwrap().table, table("1"));
    }

    #[test]
    fn a_file_of_a_later_version_is_refused_and_stays() {
        let newer = r#"{"configTable":{"n":{"k":"3"}},"version":2}"#;
        let (_folder, path) = saved(&["1", "2"]);
        for written in [path.clone(), beside(&path, "bak")] {
            fs::write(&written, newer).unwrap();
            let error = load(&path).unwrap_err().to_string();
            let text = "has format version 2; this program reads versions up to 1";
            assert_eq!(error, format!("`{}` {text}", written.display()));
            assert_eq!(refuse_newer(&path).unwrap_err().to_string(), error);
            assert_eq!(fs::read_to_string(&written).unwrap(), newer);
            // Without the file, the backup is what is read.
            fs::remove_file(&path).ok();
        }
        fs::write(&path, newer.replace('2', "1")).unwrap();
        assert_eq!(load(&path).unwrap().table, table("3"));
    }

    #[test]
    fn two_broken_files_are_an_empty_table_and_two_lines() {
        let (_folder, path) = saved(&["1", "2"]);
        fs::write(&path, "?").unwrap();
        fs::write(beside(&path, "bak"), "?").unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.table, loaded.errors.len()), (KvTable::default(), 2));
    }
}
