//! Passwords: how they are kept and made.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use super::NoRandomness;

/// Characters of a generated password: none that are mistaken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";

/// Characters of a generated password; 5 bits each.
const GENERATED_LENGTH: usize = 20;

/// Fewest characters of a password that somebody chooses.
pub const LENGTH_MIN: usize = 8;

/// Most bytes of a password: hashing more costs time for nothing.
pub const BYTES_MAX: usize = 256;

/// Why a password cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is easily guessed.
    #[error("the password has {length} characters; at least {LENGTH_MIN} are needed")]
    TooShort {
        /// Characters.
        length: usize,
    },
    /// It is longer than anybody types.
    #[error("the password has {length} bytes; at most {BYTES_MAX} are taken")]
    TooLong {
        /// Bytes.
        length: usize,
    },
    /// No salt.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The hash function refused.
    #[error("the password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

/// A password of 100 bits that nobody has to have chosen.
pub fn generate() -> Result<String, NoRandomness> {
    let mut bytes = [0; GENERATED_LENGTH];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    let letters = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(letters.collect())
}

/// Hashes a password with argon2id, for keeping. Takes tens of milliseconds and 19 MiB, on purpose.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let length = password.chars().count();
    if length < LENGTH_MIN {
        return Err(PasswordError::TooShort { length });
    }
    if BYTES_MAX < password.len() {
        return Err(PasswordError::TooLong { length: password.len() });
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(NoRandomness)?;
    let hash: PasswordHash =
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one that was hashed. Without a hash it takes the same time and is not: who asks does not
/// learn which names exist.
pub fn verify(password: &str, hash: Option<&str>) -> bool {
    if BYTES_MAX < password.len() {
        return false;
    }
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    match known {
        Some(hash) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
        None => {
            let unused: Result<PasswordHash, _> =
                Argon2::default().hash_password_with_salt(password.as_bytes(), &[0; 16]);
            std::hint::black_box(unused.is_ok());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_that_was_hashed_is_right() {
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify("correct horse", Some(&kept)));
        assert!(!verify("correct horsf", Some(&kept)));
        assert!(!verify("correct horse", Some("no hash")));
        assert!(!verify("correct horse", None));
        assert_ne!(kept, hash("correct horse").unwrap());
    }

    #[test]
    fn passwords_have_limits() {
        assert!(matches!(hash("short"), Err(PasswordError::TooShort { length: 5 })));
        assert!(matches!(hash(&"x".repeat(300)), Err(PasswordError::TooLong { length: 300 })));
        assert!(hash(&generate().unwrap()).is_ok());
    }
}
