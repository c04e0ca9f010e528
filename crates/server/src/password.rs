//! The password of the first superuser: generated unless one is given.
//!
//! Always holds: the password is shown or given once and kept by nobody here; the catalog gets a SCRAM-SHA-256
//! verifier, from which it cannot be read back.

use crate::failure::Failure;

/// The variable that gives the first superuser's password.
pub(crate) const VARIABLE: &str = "WHARF_PASSWORD";

/// Letters and digits that are not mistaken for each other when copied by hand.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// 24 of 31 symbols: 118 bits.
const LENGTH: usize = 24;

/// A new random password.
///
/// # Errors
/// When the operating system has no randomness to give.
pub(crate) fn generate() -> Result<String, Failure> {
    let mut password = String::with_capacity(LENGTH);
    let mut bytes = [0_u8; 2 * LENGTH];
    while password.len() < LENGTH {
        getrandom::fill(&mut bytes).map_err(|error| {
            Failure::new(
                format!("cannot generate a password: {error}"),
                format!("give one in the environment: {VARIABLE}"),
            )
        })?;
        // The largest multiple of the alphabet's length: a byte beyond it would favour the first symbols.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let symbols = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        password.extend(symbols.take(LENGTH - password.len()));
    }
    Ok(password)
}

/// What the catalog keeps of a password.
///
/// # Errors
/// When the operating system has no randomness for the salt.
pub(crate) fn verifier(password: &str) -> Result<String, Failure> {
    wharf_engine::scram_verifier(password)
        .map_err(|error| Failure::from_error("cannot keep a password", &error, "start again"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        for password in [one, other] {
            assert_eq!(password.len(), LENGTH);
            assert!(password.bytes().all(|byte| ALPHABET.contains(&byte)), "{password}");
        }
    }
}
