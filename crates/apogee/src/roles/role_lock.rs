//! One server of a kind in one folder. The locked file also says which process that is, which is how `shutdown` finds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

/// A server that keeps a folder for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A broker.
    Broker,
    /// A nameserver.
    Nameserver,
    /// A console.
    Console,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Broker, Role::Nameserver, Role::Console];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Role::Broker => "broker",
            Role::Nameserver => "nameserver",
            Role::Console => "console",
        }
    }

    fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.pid", self.name()))
    }
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RoleLockError {
    /// Somebody else has it.
    #[error("folder {} belongs to another {}{}; give each its own (--data-dir)", folder.display(), role.name(),
        process.as_ref().map(|id| format!(", process {id}")).unwrap_or_default())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The kind of server.
        role: Role,
        /// The process, if it can be read.
        process: Option<String>,
    },
    /// It cannot be made or written.
    #[error("data folder {} cannot be used{}", folder.display(), advice(folder, source))]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What helps where a right is missing.
fn advice(folder: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let (user, group) = (geteuid().as_raw(), getegid().as_raw());
            let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
            format!(" by user {user}; `chown {user}:{group} {}` gives it to them", there.display())
        }
        _ => " (another one: --data-dir)".to_owned(),
    }
}

/// Keeps the folder until it is dropped.
#[derive(Debug)]
pub struct RoleLock(File);

impl RoleLock {
    /// Makes the folder if it is not there, and takes it.
    pub fn take(folder: &Path, role: Role) -> Result<RoleLock, RoleLockError> {
        let unusable = |source| RoleLockError::Unusable { folder: folder.into(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let path = role.file(folder);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
                let process = process.filter(|process| !process.is_empty());
                return Err(RoleLockError::Taken { folder: folder.into(), role, process });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // On a full disk the folder is taken all the same; only `shutdown` will not find the process.
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(%error, path = %path.display(), "the process id cannot be noted");
        }
        Ok(RoleLock(file))
    }
}

impl Drop for RoleLock {
    fn drop(&mut self) {
        // The file stays: removing it could hit that of a server that has just taken the folder.
        let _ = self.0.set_len(0);
    }
}

/// The process that has the folder, if there is one.
pub fn holder(folder: &Path, role: Role) -> io::Result<Option<i32>> {
    let path = role.file(folder);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        // Nobody has it; what is in the file is of a process that is gone.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let text = fs::read_to_string(&path)?;
            let id =
                text.trim().parse().map_err(|_| io::Error::other(format!("{} names no process", path.display())))?;
            Ok(Some(id))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_of_a_kind() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path(), Role::Broker).unwrap(), None);
        let lock = RoleLock::take(folder.path(), Role::Broker).unwrap();
        let id = std::process::id();
        assert_eq!(holder(folder.path(), Role::Broker).unwrap(), Some(id as i32));
        let told = RoleLock::take(folder.path(), Role::Broker).unwrap_err().to_string();
        assert!(told.contains(&format!("another broker, process {id}")), "{told}");
        let other = RoleLock::take(folder.path(), Role::Nameserver).unwrap();
        drop((lock, other));
        assert_eq!(holder(folder.path(), Role::Broker).unwrap(), None);
        drop(RoleLock::take(folder.path(), Role::Broker).unwrap());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let told = RoleLock::take(&file.join("data"), Role::Broker).unwrap_err().to_string();
        assert_eq!(
            told,
            format!("data folder {} cannot be used (another one: --data-dir)", file.join("data").display())
        );
        let denied = RoleLockError::Unusable { folder: "/d".into(), source: io::ErrorKind::PermissionDenied.into() };
        assert!(denied.to_string().contains("`chown "), "{denied}");
    }
}
