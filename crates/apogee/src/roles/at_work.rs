//! Which servers of this user work on this machine, and where: each has a file in a folder that all of them know. So
//! `apogee healthcheck` needs no argument, whatever a container was told to run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid, getpid, test_kill_process};

use super::role_lock::Role;

/// What the names of the folders begin with; the user's number follows.
const PREFIX: &str = "apogee-";

/// A server that can be asked; its file goes when this is dropped.
#[derive(Debug)]
pub struct AtWork(Option<PathBuf>);

impl AtWork {
    /// Notes where this process serves. Only the health check suffers when that cannot be written, so it is no error.
    pub fn note(role: Role, address: SocketAddr) -> AtWork {
        forget_dead(&folder(), |process| test_kill_process(process).is_ok());
        match write(&folder(), role, address) {
            Ok(path) => AtWork(Some(path)),
            Err(error) => {
                let name = role.name();
                tracing::debug!(%error, "`apogee healthcheck` will not find this {name} by itself");
                AtWork(None)
            }
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Servers of this user whose processes live, and the port of each on this machine; for root, those of all users.
pub fn all() -> Vec<(Role, u16)> {
    let folders = if geteuid().is_root() { of_all_users() } else { vec![folder()] };
    folders.iter().flat_map(|folder| in_folder(folder, |process| test_kill_process(process).is_ok())).collect()
}

fn of_all_users() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    paths.filter(is_ours).collect()
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{}", geteuid().as_raw()))
}

fn write(folder: &Path, role: Role, address: SocketAddr) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    own(folder)?;
    let path = folder.join(format!("{}-{}", getpid().as_raw_nonzero(), role.name()));
    fs::write(&path, format!("{}\n", address.port()))?;
    Ok(path)
}

/// The folder lies where everybody may make one.
fn own(folder: &Path) -> io::Result<()> {
    match geteuid() {
        user if user.is_root() || fs::metadata(folder)?.uid() == user.as_raw() => Ok(()),
        _ => Err(io::Error::other(format!("{} belongs to somebody else", folder.display()))),
    }
}

/// Removes what killed servers left behind, before its process numbers are used again.
fn forget_dead(folder: &Path, lives: impl Fn(Pid) -> bool) {
    if own(folder).is_err() {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let number = path.file_name().and_then(|name| name.to_str()?.split_once('-')?.0.parse().ok());
        if number.and_then(Pid::from_raw).is_some_and(|process| !lives(process)) {
            let _ = fs::remove_file(path);
        }
    }
}

fn in_folder(folder: &Path, lives: impl Fn(Pid) -> bool) -> Vec<(Role, u16)> {
    if own(folder).is_err() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(Role, u16)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let (process, role) = path.file_name()?.to_str()?.split_once('-')?;
            let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
            let port = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
            lives(Pid::from_raw(process.parse().ok()?)?).then_some((role, port))
        })
        .collect();
    found.sort_unstable_by_key(|(role, port)| (role.name(), *port));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_until_they_end() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("apogee");
        assert_eq!(in_folder(&folder, |_| true), []);
        let broker = AtWork(Some(write(&folder, Role::Broker, "0.0.0.0:10921".parse().unwrap()).unwrap()));
        let _nameserver = AtWork(Some(write(&folder, Role::Nameserver, "[::]:9876".parse().unwrap()).unwrap()));
        fs::write(folder.join("12-broker"), "no port").unwrap();
        fs::write(folder.join("notes"), "10911").unwrap();
        assert_eq!(in_folder(&folder, |_| true), [(Role::Broker, 10921), (Role::Nameserver, 9876)]);
        // What a killed process left behind does not count, and goes when the next server comes.
        assert_eq!(in_folder(&folder, |_| false), []);
        fs::write(folder.join("13-console"), "8080").unwrap();
        forget_dead(&folder, |process| process.as_raw_nonzero().get() != 13);
        assert!(!folder.join("13-console").exists() && folder.join("notes").exists());
        drop(broker);
        assert_eq!(in_folder(&folder, |_| true), [(Role::Nameserver, 9876)]);
    }
}
