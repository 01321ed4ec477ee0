//! Giving up root. In an image a server starts as root, since the engine makes mounted folders root's; it gives its folders
//! to the user that it is to run as, and begins again as that user. So nobody has to `chmod 777` what they mount.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use rustix::process::geteuid;

use super::logging;
use super::variables::RUN_AS;

/// User and group by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct User {
    id: u32,
    group: u32,
}

/// If this process is root and the environment names a user to run as: gives that user the folder and the folder of log
/// files, and replaces this process by one of that user. A folder that is somebody else's already decides who that is.
pub fn give_up_root(data_dir: &Path) -> anyhow::Result<()> {
    let Some(wanted) = std::env::var_os(RUN_AS).filter(|user| !user.is_empty()) else { return Ok(()) };
    if !geteuid().is_root() {
        return Ok(());
    }
    let wanted = parse(&wanted)?;
    if wanted.id == 0 {
        return Ok(());
    }
    let mut user = wanted;
    for folder in std::iter::once(data_dir.to_owned()).chain(logging::folder()) {
        let owner = settle(&folder, user)?;
        if owner != user && user != wanted {
            let folders = format!("{} and {}", data_dir.display(), folder.display());
            bail!("{folders} belong to different users, {} and {}: give both to one of them", user.id, owner.id);
        }
        user = owner;
    }
    let program = std::env::current_exe().context("this program cannot be found")?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let failed = Command::new(program).arg0(name).args(arguments).uid(user.id).gid(user.group).exec();
    Err(failed).with_context(|| format!("the server cannot be started as user {}", user.id))
}

fn parse(text: &OsString) -> anyhow::Result<User> {
    let user = text.to_str().and_then(|text| {
        let (id, group) = text.split_once(':').unwrap_or((text, text));
        Some(User { id: id.parse().ok()?, group: group.parse().ok()? })
    });
    user.with_context(|| format!("{RUN_AS} is {text:?}, which is no user by number, such as 3000 or 3000:3000"))
}

/// Makes the folder `user`'s unless it is somebody else's; returns whose it is then.
fn settle(folder: &Path, user: User) -> anyhow::Result<User> {
    let problem = || format!("folder {} cannot be given to user {}", folder.display(), user.id);
    fs::create_dir_all(folder).with_context(problem)?;
    let owner = fs::metadata(folder).with_context(problem)?;
    if owner.uid() != 0 && owner.uid() != user.id {
        return Ok(User { id: owner.uid(), group: owner.gid() });
    }
    let given = give(folder, user).with_context(problem)?;
    if given > 1 {
        tracing::info!("{given} files and folders of root in {} are user {}'s now", folder.display(), user.id);
    }
    Ok(user)
}

/// Gives what is root's below a path to a user. Returns how many files and folders that were.
fn give(path: &Path, user: User) -> io::Result<usize> {
    let mut given = 0;
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path)?;
        if found.uid() == 0 {
            lchown(&path, Some(user.id), Some(user.group))?;
            given += 1;
        }
        if found.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_number_or_two() {
        assert_eq!(parse(&"3000".into()).unwrap(), User { id: 3000, group: 3000 });
        assert_eq!(parse(&"3000:50".into()).unwrap(), User { id: 3000, group: 50 });
        let refused = parse(&"rocketmq".into()).unwrap_err().to_string();
        assert_eq!(refused, r#"APOGEE_RUN_AS is "rocketmq", which is no user by number, such as 3000 or 3000:3000"#);
    }

    #[test]
    fn a_folder_of_somebody_else_stays_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap();
        let (id, group) = (owner.uid(), owner.gid());
        let other = User { id: 4_000, group: 4_000 };
        fs::write(folder.path().join("checkpoint"), "").unwrap();
        let settled = settle(folder.path(), other).unwrap();
        // Root sees its folder change hands, everybody else sees it stay.
        let expected = if id == 0 { other } else { User { id, group } };
        assert_eq!(settled, expected);
        assert_eq!(fs::metadata(folder.path().join("checkpoint")).unwrap().uid(), expected.id);
        assert_eq!(settle(folder.path(), User { id: 5_000, group: 5_000 }).unwrap(), expected);
    }
}
