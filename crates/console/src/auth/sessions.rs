//! Who is logged in. Takes the time as an argument; a restart ends all sessions.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{NoRandomness, Role, random_text};

/// A session that does nothing for so long ends, in milliseconds.
const IDLE_MAX_MS: i64 = 8 * 3600 * 1000;
/// Every session ends after so long, in milliseconds.
const AGE_MAX_MS: i64 = 7 * 24 * 3600 * 1000;
/// Sessions at a time; the one that did nothing for longest makes room.
const SESSIONS_MAX: usize = 1000;

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name of the user.
    pub user: String,
    /// What the user may do.
    pub role: Role,
    /// What forms of this session carry, so that no other site can send them.
    pub form_token: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When it was last used, in milliseconds since 1970.
    pub used_ms: i64,
    /// Where it began.
    pub address: IpAddr,
}

/// All sessions, by the secret that the browser keeps in a cookie.
#[derive(Debug, Default)]
pub struct Sessions {
    by_secret: HashMap<String, Session>,
}

impl Sessions {
    /// Begins a session; returns its secret.
    pub fn begin(&mut self, now_ms: i64, user: &str, role: Role, address: IpAddr) -> Result<String, NoRandomness> {
        self.by_secret.retain(|_, session| !is_over(session, now_ms));
        if SESSIONS_MAX <= self.by_secret.len() {
            let idlest = self.by_secret.iter().min_by_key(|(_, session)| session.used_ms);
            if let Some(secret) = idlest.map(|(secret, _)| secret.clone()) {
                self.by_secret.remove(&secret);
            }
        }
        let secret = random_text()?;
        let form_token = random_text()?;
        let user = user.to_owned();
        let session = Session { user, role, form_token, began_ms: now_ms, used_ms: now_ms, address };
        self.by_secret.insert(secret.clone(), session);
        Ok(secret)
    }

    /// The session of a secret, which is thereby used.
    pub fn of(&mut self, now_ms: i64, secret: &str) -> Option<Session> {
        let session = self.by_secret.get_mut(secret)?;
        if is_over(session, now_ms) {
            self.by_secret.remove(secret);
            return None;
        }
        session.used_ms = now_ms;
        Some(session.clone())
    }

    /// Whether the session of a secret goes on; does not count as using it.
    pub fn is_alive(&self, now_ms: i64, secret: &str) -> bool {
        self.by_secret.get(secret).is_some_and(|session| !is_over(session, now_ms))
    }

    /// Ends a session.
    pub fn end(&mut self, secret: &str) {
        self.by_secret.remove(secret);
    }

    /// Ends all sessions of a user but the one of `kept`.
    pub fn end_others(&mut self, user: &str, kept: Option<&str>) {
        self.by_secret.retain(|secret, session| session.user != user || Some(secret.as_str()) == kept);
    }

    /// All sessions, latest used first.
    pub fn list(&self, now_ms: i64) -> Vec<Session> {
        let mut sessions: Vec<Session> =
            self.by_secret.values().filter(|session| !is_over(session, now_ms)).cloned().collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.used_ms));
        sessions
    }
}

fn is_over(session: &Session, now_ms: i64) -> bool {
    IDLE_MAX_MS < now_ms - session.used_ms || AGE_MAX_MS < now_ms - session.began_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const HOUR_MS: i64 = 3600 * 1000;

    #[test]
    fn a_session_ends_when_it_does_nothing_or_gets_old() {
        let mut sessions = Sessions::default();
        let secret = sessions.begin(0, "admin", Role::Admin, HERE).unwrap();
        assert!(sessions.of(8 * HOUR_MS, &secret).is_some());
        assert!(sessions.of(16 * HOUR_MS, &secret).is_some());
        assert!(sessions.of(24 * HOUR_MS + 1, &secret).is_none());
        let secret = sessions.begin(0, "admin", Role::Admin, HERE).unwrap();
        for hours in (0..=168).step_by(8) {
            assert!(sessions.of(hours * HOUR_MS, &secret).is_some(), "{hours}");
        }
        assert!(sessions.of(168 * HOUR_MS + 1, &secret).is_none());
    }

    #[test]
    fn logging_out_elsewhere_keeps_this_session() {
        let mut sessions = Sessions::default();
        let here = sessions.begin(0, "admin", Role::Admin, HERE).unwrap();
        let there = sessions.begin(0, "admin", Role::Admin, HERE).unwrap();
        let other = sessions.begin(0, "other", Role::Viewer, HERE).unwrap();
        sessions.end_others("admin", Some(&here));
        assert!(
            sessions.of(1, &here).is_some() && sessions.of(1, &there).is_none() && sessions.of(1, &other).is_some()
        );
        sessions.end(&here);
        assert_eq!(sessions.list(1).len(), 1);
    }

    #[test]
    fn sessions_are_bounded() {
        let mut sessions = Sessions::default();
        for time in 0..SESSIONS_MAX as i64 + 10 {
            sessions.begin(time, "admin", Role::Admin, HERE).unwrap();
        }
        assert_eq!(sessions.by_secret.len(), SESSIONS_MAX);
    }
}
