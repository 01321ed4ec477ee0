//! Who may do what.

pub mod passwords;
pub mod programs;
pub mod proxies;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod users;

use std::fmt::Write;

/// What one may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but message bodies.
    Guest,
    /// Look at everything.
    Viewer,
    /// Publish, move groups, create and change topics and groups.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Roles that a user can have.
    pub const OF_USERS: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// As it is written in files and forms.
    pub fn name(self) -> &'static str {
        match self {
            Role::Guest => "guest",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of a user that is written so.
    pub fn of_name(name: &str) -> Option<Role> {
        Role::OF_USERS.into_iter().find(|role| role.name() == name)
    }
}

/// What somebody without a login may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Look at everything but message bodies.
    #[default]
    Viewer,
    /// Nothing.
    Required,
    /// Everything: for a machine of one's own.
    Off,
}

impl AuthMode {
    /// The mode of that name: `viewer`, `required` or `off`.
    pub fn of_name(name: &str) -> Option<AuthMode> {
        match name {
            "viewer" => Some(AuthMode::Viewer),
            "required" => Some(AuthMode::Required),
            "off" => Some(AuthMode::Off),
            _ => None,
        }
    }
}

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

/// 32 random bytes as hex.
pub fn random_text() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub fn same(left: &str, right: &str) -> bool {
    let differences = left.bytes().zip(right.bytes()).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_lower_ones_may() {
        assert!(Role::Guest < Role::Viewer && Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::OF_USERS {
            assert_eq!(Role::of_name(role.name()), Some(role));
        }
        assert_eq!(Role::of_name("guest"), None);
    }

    #[test]
    fn texts_are_compared_whole() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
        assert_ne!(random_text().unwrap(), random_text().unwrap());
    }
}
