//! The table on disk: a file that is always whole, and the one before it.
//!
//! A new text goes to `<file>.tmp`, is synced, and takes the place of `<file>`, which becomes `<file>.bak`. A crash
//! between the two renames leaves `<file>.bak` alone; reading falls back on it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::KvTable;

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
/// good backup with it.
pub fn load(path: &Path) -> Loaded {
    let mut loaded = Loaded::default();
    match read(path) {
        Ok(Some(table)) => return Loaded { table, ..loaded },
        Ok(None) => {}
        Err(error) => {
            // What cannot be moved is overwritten by the next change; there is no better place for it.
            let _ = fs::rename(path, beside(path, "broken"));
            loaded.errors.push(error);
        }
    }
    match read(&beside(path, "bak")) {
        Ok(Some(table)) => return Loaded { table, from_backup: true, ..loaded },
        Ok(None) => {}
        Err(error) => loaded.errors.push(error),
    }
    loaded
}

/// Writes the table. When this fails, [`load`] finds the table before, or this one whole.
pub fn save(path: &Path, table: &KvTable) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = beside(path, "tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&table.encode())?;
    // The bytes must be on disk before the name points to them.
    file.sync_all()?;
    match fs::rename(path, beside(path, "bak")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&temporary, path)?;
    // A rename is in the folder, and the folder is on disk only after this.
    File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<Option<KvTable>, LoadError> {
    match fs::read(path) {
        Ok(text) => KvTable::decode(&text)
            .map(Some)
            .map_err(|error| LoadError::Broken { path: path.into(), reason: error.to_string() }),
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
        let loaded = load(&path);
        assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (KvTable::default(), 0, false));
    }

    #[test]
    fn the_last_table_is_read_and_the_one_before_is_kept() {
        let (_folder, path) = saved(&["1", "2"]);
        assert_eq!(load(&path).table, table("2"));
        assert_eq!(read(&beside(&path, "bak")).unwrap(), Some(table("1")));
        assert!(!beside(&path, "tmp").exists());
    }

    /// As a crash may leave them, between any two steps of [`save`].
    #[test]
    fn a_crash_while_saving_loses_at_most_the_change_that_was_not_answered() {
        let (_folder, path) = saved(&["1", "2"]);
        fs::write(beside(&path, "tmp"), b"{\"config").unwrap();
        assert_eq!(load(&path).table, table("2"));
        fs::rename(&path, beside(&path, "bak")).unwrap();
        let loaded = load(&path);
        assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (table("2"), 0, true));
        save(&path, &table("3")).unwrap();
        assert_eq!(load(&path).table, table("3"));
    }

    #[test]
    fn a_broken_file_is_set_aside_and_the_backup_read() {
        for broken in [&b""[..], b"{\"configTable\":", b"\0\0\0\0", b"[]", b"{\"configTable\":{\"n\":7}}"] {
            let (_folder, path) = saved(&["1", "2"]);
            fs::write(&path, broken).unwrap();
            let loaded = load(&path);
            assert_eq!((loaded.table, loaded.errors.len(), loaded.from_backup), (table("1"), 1, true));
            assert_eq!(fs::read(beside(&path, "broken")).unwrap(), broken);
            save(&path, &table("3")).unwrap();
            assert_eq!(read(&beside(&path, "bak")).unwrap(), Some(table("1")));
        }
    }

    #[test]
    fn two_broken_files_are_an_empty_table_and_two_lines() {
        let (_folder, path) = saved(&["1", "2"]);
        fs::write(&path, "?").unwrap();
        fs::write(beside(&path, "bak"), "?").unwrap();
        let loaded = load(&path);
        assert_eq!((loaded.table, loaded.errors.len()), (KvTable::default(), 2));
    }
}
