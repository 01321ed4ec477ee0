//! Who may log in: a small file in the console's folder.
//!
//! ```json
//! {"version":1,"users":[{"name":"admin","role":"admin","password":"$argon2id$v=19$…"}]}
//! ```

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::passwords::{self, PasswordError};
use super::{NoRandomness, Role};

/// Name of the first user.
pub const FIRST_USER: &str = "admin";

/// Version of the file.
const VERSION: u32 = 1;

/// Name of the file in the console's folder.
const FILE: &str = "users.json";

/// Most characters of a user's name.
const NAME_MAX: usize = 64;

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// The hashed password.
    pub password: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct UsersFile {
    version: u32,
    users: Vec<User>,
}

/// Why users cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read or written.
    #[error("`{path}` cannot be {done}")]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("`{path}` is no list of users")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A later release wrote it.
    #[error("`{path}` has version {found}; this release knows {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        found: u32,
    },
    /// The password cannot be kept.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The system gives no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The name is empty, too long or has characters that are not letters, digits, `.`, `-`, `_` or `@`.
    #[error("`{0}` is no name for a user: 1 to {NAME_MAX} letters, digits, `.`, `-`, `_` or `@`")]
    Name(String),
    /// There is nobody of that name.
    #[error("there is no user `{0}`")]
    NoSuchUser(String),
    /// The last one who may do everything would be gone.
    #[error("`{0}` is the last admin and has to stay one")]
    LastAdmin(String),
}

/// Users, as the file has them.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    users: Vec<User>,
}

impl Users {
    /// Reads the users of the console in `folder`. Without a file there is one user, whose password is `given` or
    /// made up; a made-up one is returned, and nobody will ever see it again.
    pub fn open(folder: &Path, given: Option<&str>) -> Result<(Users, Option<String>), UsersError> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok((Users { users: read(&path, &bytes)?, path }, None)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made_up = if given.is_some() { None } else { Some(passwords::generate()?) };
                let mut users = Users { path, users: Vec::new() };
                let password = given.or(made_up.as_deref()).unwrap_or_default();
                users.put(FIRST_USER, Role::Admin, password)?;
                Ok((users, made_up))
            }
            Err(source) => Err(UsersError::File { path, done: "read", source }),
        }
    }

    /// Sets the password of a user of the console in `folder`, made up where none is given; a made-up one is returned.
    /// A running console reads the file again.
    pub fn set_password(folder: &Path, name: &str, given: Option<&str>) -> Result<Option<String>, UsersError> {
        let made_up = if given.is_some() { None } else { Some(passwords::generate()?) };
        let password = given.or(made_up.as_deref()).unwrap_or_default();
        let path = folder.join(FILE);
        let mut users = match std::fs::read(&path) {
            Ok(bytes) => Users { users: read(&path, &bytes)?, path },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Users { path, users: Vec::new() },
            Err(source) => return Err(UsersError::File { path, done: "read", source }),
        };
        let role = match users.find(name) {
            Some(user) => user.role,
            None if name == FIRST_USER => Role::Admin,
            None => return Err(UsersError::NoSuchUser(name.to_owned())),
        };
        users.put(name, role, password)?;
        Ok(made_up)
    }

    /// Reads the file again: the command line may have changed a password. A file that cannot be read changes nothing.
    pub fn refresh(&mut self) {
        let read_again = std::fs::read(&self.path).ok().and_then(|bytes| read(&self.path, &bytes).ok());
        if let Some(users) = read_again {
            self.users = users;
        }
    }

    /// All users, sorted by name.
    pub fn list(&self) -> &[User] {
        &self.users
    }

    /// The user of that name.
    pub fn find(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Adds a user, or gives one another role and password.
    pub fn put(&mut self, name: &str, role: Role, password: &str) -> Result<(), UsersError> {
        let is_plain = |c: char| c.is_alphanumeric() || ['.', '-', '_', '@'].contains(&c);
        if name.is_empty() || NAME_MAX < name.chars().count() || !name.chars().all(is_plain) {
            return Err(UsersError::Name(name.to_owned()));
        }
        if role < Role::Admin && self.is_last_admin(name) {
            return Err(UsersError::LastAdmin(name.to_owned()));
        }
        let user = User { name: name.to_owned(), role, password: passwords::hash(password)? };
        let mut users = self.users.clone();
        users.retain(|known| known.name != name);
        users.push(user);
        users.sort_by(|a, b| a.name.cmp(&b.name));
        self.store(users)
    }

    /// Removes a user.
    pub fn remove(&mut self, name: &str) -> Result<(), UsersError> {
        if self.is_last_admin(name) {
            return Err(UsersError::LastAdmin(name.to_owned()));
        }
        let mut users = self.users.clone();
        users.retain(|known| known.name != name);
        self.store(users)
    }

    fn is_last_admin(&self, name: &str) -> bool {
        let mut admins = self.users.iter().filter(|user| user.role == Role::Admin);
        admins.next().is_some_and(|admin| admin.name == name) && admins.next().is_none()
    }

    /// Writes a new file beside the old one and puts it in its place, so that there is always a whole one.
    fn store(&mut self, users: Vec<User>) -> Result<(), UsersError> {
        let failed = |source| UsersError::File { path: self.path.clone(), done: "written", source };
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let new = self.path.with_extension("json.new");
        let bytes = serde_json::to_vec(&UsersFile { version: VERSION, users: users.clone() })
            .map_err(|source| UsersError::Form { path: self.path.clone(), source })?;
        let write = || {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)
        };
        write().map_err(failed)?;
        self.users = users;
        Ok(())
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<Vec<User>, UsersError> {
    let file: UsersFile =
        serde_json::from_slice(bytes).map_err(|source| UsersError::Form { path: path.to_owned(), source })?;
    if file.version != VERSION {
        return Err(UsersError::Version { path: path.to_owned(), found: file.version });
    }
    Ok(file.users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_an_admin_whose_password_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (users, password) = Users::open(folder.path(), None).unwrap();
        let kept = &users.find(FIRST_USER).unwrap().password;
        assert!(passwords::verify(&password.unwrap(), Some(kept)));
        let (again, none) = Users::open(folder.path(), Some("another one")).unwrap();
        assert_eq!((again.list(), none), (users.list(), None));
    }

    #[test]
    fn a_given_password_is_taken_and_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let (users, told) = Users::open(folder.path(), Some("given password")).unwrap();
        assert_eq!(told, None);
        assert!(passwords::verify("given password", Some(&users.list()[0].password)));
        let file = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!file.contains("given password"));
    }

    #[test]
    fn the_last_admin_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (mut users, _) = Users::open(folder.path(), Some("given password")).unwrap();
        assert!(matches!(users.remove(FIRST_USER), Err(UsersError::LastAdmin(_))));
        assert!(matches!(users.put(FIRST_USER, Role::Viewer, "given password"), Err(UsersError::LastAdmin(_))));
        users.put("second", Role::Admin, "second password").unwrap();
        users.remove(FIRST_USER).unwrap();
        assert_eq!(users.list().len(), 1);
        assert!(matches!(users.put("a b", Role::Viewer, "second password"), Err(UsersError::Name(_))));
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for (text, expected) in [("{", "is no list of users"), (r#"{"version":9,"users":[]}"#, "has version 9")] {
            std::fs::write(&path, text).unwrap();
            let error = Users::open(folder.path(), None).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
