//! Tokens by which programs log in: `apg_`, an id, `_` and 256 random bits. The file keeps only what they hash to.
//!
//! ```json
//! {"version":1,"tokens":[{"id":"0f3a…","note":"ci","user":"admin","role":"operator","made":1796000000000,"expires":1803776000000,"hash":"…"}]}
//! ```

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{NoRandomness, Role, random_text, same};

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "apg_";

/// Characters of an id.
const ID_LENGTH: usize = 12;

/// Version of the file.
const VERSION: u32 = 1;

/// Name of the file in the console's folder.
const FILE: &str = "tokens.json";

/// Most tokens at a time.
const TOKENS_MAX: usize = 200;

/// Most characters of a note.
const NOTE_MAX: usize = 100;

/// Most days that a token lives.
pub const DAYS_MAX: i64 = 3650;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Names it; is not secret.
    pub id: String,
    /// What it is for.
    pub note: String,
    /// Who made it. Without that user it is worth nothing.
    pub user: String,
    /// What it may do, as long as the user may, too.
    pub role: Role,
    /// When it was made, in milliseconds since 1970.
    #[serde(rename = "made")]
    pub made_ms: i64,
    /// When it ends, in milliseconds since 1970.
    #[serde(rename = "expires")]
    pub expires_ms: i64,
    hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct TokensFile {
    version: u32,
    tokens: Vec<Token>,
}

/// Why tokens cannot be read, made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
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
    #[error("`{path}` is no list of tokens")]
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
    /// It would never end, or has ended.
    #[error("`days` is {0}; expected 1 to {DAYS_MAX}")]
    Days(i64),
    /// Nobody would know what it is for, or nobody would read it.
    #[error("`note` has {0} characters; expected 1 to {NOTE_MAX}")]
    Note(usize),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens; revoke some first")]
    TooMany,
    /// There is none of that id.
    #[error("there is no token `{0}`")]
    NoSuchToken(String),
    /// The system gives no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The hash function refused.
    #[error("the token cannot be hashed: {0}")]
    Hash(argon2::Error),
}

/// Tokens, as the file has them.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    tokens: Vec<Token>,
    /// When each was last used since the console started, in milliseconds since 1970.
    used_ms: HashMap<String, i64>,
}

impl Tokens {
    /// Reads the tokens of the console in `folder`; none without a file.
    pub fn open(folder: &Path) -> Result<Tokens, TokensError> {
        let path = folder.join(FILE);
        let tokens = match std::fs::read(&path) {
            Ok(bytes) => {
                let file: TokensFile = serde_json::from_slice(&bytes)
                    .map_err(|source| TokensError::Form { path: path.clone(), source })?;
                if file.version != VERSION {
                    return Err(TokensError::Version { path, found: file.version });
                }
                file.tokens
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TokensError::File { path, done: "read", source }),
        };
        Ok(Tokens { path, tokens, used_ms: HashMap::new() })
    }

    /// Makes a token for a user that lives for `days`; returns it with its secret, which nobody will see again.
    pub fn make(
        &mut self,
        now_ms: i64,
        user: &str,
        role: Role,
        note: &str,
        days: i64,
    ) -> Result<(Token, String), TokensError> {
        let length = note.chars().count();
        if !(1..=NOTE_MAX).contains(&length) {
            return Err(TokensError::Note(length));
        }
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(TokensError::Days(days));
        }
        let mut tokens: Vec<Token> = self.tokens.iter().filter(|token| now_ms < token.expires_ms).cloned().collect();
        if TOKENS_MAX <= tokens.len() {
            return Err(TokensError::TooMany);
        }
        let id = random_text()?[..ID_LENGTH].to_owned();
        let secret = random_text()?;
        let token = Token {
            hash: hash(&id, &secret).map_err(TokensError::Hash)?,
            note: note.to_owned(),
            user: user.to_owned(),
            role,
            made_ms: now_ms,
            expires_ms: now_ms + days * DAY_MS,
            id,
        };
        tokens.push(token.clone());
        self.store(tokens)?;
        let text = format!("{PREFIX}{}_{secret}", token.id);
        Ok((token, text))
    }

    /// The token that `text` is, if it has not ended; it is thereby used. The text has 256 random bits: who guesses is
    /// not slowed down.
    pub fn of(&mut self, now_ms: i64, text: &str) -> Option<Token> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let token = self.tokens.iter().find(|token| token.id == id && now_ms < token.expires_ms)?;
        let hash = hash(id, secret).ok()?;
        if !same(&hash, &token.hash) {
            return None;
        }
        self.used_ms.insert(token.id.clone(), now_ms);
        Some(token.clone())
    }

    /// Revokes a token.
    pub fn revoke(&mut self, id: &str) -> Result<(), TokensError> {
        let kept: Vec<Token> = self.tokens.iter().filter(|token| token.id != id).cloned().collect();
        if kept.len() == self.tokens.len() {
            return Err(TokensError::NoSuchToken(id.to_owned()));
        }
        self.used_ms.remove(id);
        self.store(kept)
    }

    /// Revokes all tokens of a user.
    pub fn revoke_of(&mut self, user: &str) -> Result<(), TokensError> {
        let kept: Vec<Token> = self.tokens.iter().filter(|token| token.user != user).cloned().collect();
        if kept.len() == self.tokens.len() { Ok(()) } else { self.store(kept) }
    }

    /// All tokens, oldest first, also those that have ended.
    pub fn list(&self) -> &[Token] {
        &self.tokens
    }

    /// When a token was last used, in milliseconds since 1970; `None` if it was not since the console started.
    pub fn used_ms(&self, id: &str) -> Option<i64> {
        self.used_ms.get(id).copied()
    }

    /// Writes a new file beside the old one and puts it in its place, so that there is always a whole one.
    fn store(&mut self, tokens: Vec<Token>) -> Result<(), TokensError> {
        let failed = |source| TokensError::File { path: self.path.clone(), done: "written", source };
        let new = self.path.with_extension("json.new");
        let bytes = serde_json::to_vec(&TokensFile { version: VERSION, tokens: tokens.clone() })
            .map_err(|source| TokensError::Form { path: self.path.clone(), source })?;
        let write = || {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)
        };
        write().map_err(failed)?;
        self.tokens = tokens;
        Ok(())
    }
}

/// What is kept of a secret. It is random and long, so the least work is enough: tens of microseconds, 8 KiB.
pub fn hash(id: &str, secret: &str) -> Result<String, argon2::Error> {
    let mut hash = [0; 32];
    let params = Params::new(Params::MIN_M_COST, 1, 1, Some(hash.len()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
        secret.as_bytes(),
        id.as_bytes(),
        &mut hash,
    )?;
    Ok(STANDARD_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_secret_until_it_ends_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::open(folder.path()).unwrap();
        let (token, text) = tokens.make(0, "admin", Role::Operator, "ci", 1).unwrap();
        let kept = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.starts_with("apg_") && !kept.contains(text.rsplit('_').next().unwrap()));
        let mut again = Tokens::open(folder.path()).unwrap();
        assert_eq!(again.used_ms(&token.id), None);
        assert_eq!(again.of(DAY_MS - 1, &text), Some(token.clone()));
        assert_eq!(again.used_ms(&token.id), Some(DAY_MS - 1));
        assert_eq!(again.of(DAY_MS, &text), None);
        for wrong in
            ["", "apg_", &text[..text.len() - 1], &format!("{text}0"), "apg_x_y", &format!("apg_{}_", token.id)]
        {
            assert_eq!(again.of(1, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn revoked_tokens_are_gone_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::open(folder.path()).unwrap();
        let (first, first_text) = tokens.make(0, "admin", Role::Viewer, "one", 1).unwrap();
        let (_, second_text) = tokens.make(0, "ops", Role::Viewer, "two", 1).unwrap();
        tokens.revoke(&first.id).unwrap();
        assert!(matches!(tokens.revoke(&first.id), Err(TokensError::NoSuchToken(_))));
        assert!(tokens.of(1, &first_text).is_none() && tokens.of(1, &second_text).is_some());
        tokens.revoke_of("ops").unwrap();
        assert!(Tokens::open(folder.path()).unwrap().list().is_empty());
    }

    #[test]
    fn notes_days_and_numbers_have_limits() {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::open(folder.path()).unwrap();
        for days in [0, -1, DAYS_MAX + 1, i64::MAX] {
            assert!(matches!(tokens.make(0, "a", Role::Viewer, "n", days), Err(TokensError::Days(_))), "{days}");
        }
        assert!(matches!(tokens.make(0, "a", Role::Viewer, "", 1), Err(TokensError::Note(0))));
        for _ in 0..TOKENS_MAX {
            tokens.make(0, "a", Role::Viewer, "n", 1).unwrap();
        }
        assert!(matches!(tokens.make(0, "a", Role::Viewer, "n", 1), Err(TokensError::TooMany)));
        assert!(tokens.make(DAY_MS, "a", Role::Viewer, "n", 1).is_ok(), "those that ended make room");
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [("{", "is no list of tokens"), (r#"{"version":9,"tokens":[]}"#, "has version 9")] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(Tokens::open(folder.path()).unwrap_err().to_string().contains(expected));
        }
    }
}
