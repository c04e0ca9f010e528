//! What is kept of a password: SCRAM-SHA-256's verifier, in the form PostgreSQL keeps it (RFC 5802, RFC 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wharf_values::SqlError;

const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// The verifier of a password with a new random salt: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.
///
/// # Errors
/// `XX000` when the system gives no random bytes.
pub fn verifier(password: &str) -> Result<String, SqlError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| SqlError::internal(format!("no random bytes: {error}")))?;
    Ok(verifier_with_salt(password, &salt, ITERATIONS))
}

/// Whether a password is the one of a verifier. It takes as long for a wrong password as for the right one.
pub fn matches(verifier: &str, password: &str) -> bool {
    let parameters = verifier.strip_prefix("SCRAM-SHA-256$").and_then(|rest| rest.split_once('$'));
    let Some((iterations, salt)) = parameters.and_then(|(parameters, _)| parameters.split_once(':')) else {
        return false;
    };
    let (Ok(iterations), Ok(salt)) = (iterations.parse(), STANDARD.decode(salt)) else { return false };
    let made = verifier_with_salt(password, &salt, iterations);
    // Digests of the two, so that where they differ tells nothing of the verifier.
    Sha256::digest(made) == Sha256::digest(verifier)
}

fn verifier_with_salt(password: &str, salt: &[u8], iterations: u32) -> String {
    // A password that SASLprep refuses is used as it is, as PostgreSQL does.
    let prepared = stringprep::saslprep(password).unwrap_or(password.into());
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), salt, iterations, &mut salted);
    let stored_key = Sha256::digest(keyed(&salted, b"Client Key"));
    let server_key = keyed(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

fn keyed(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_verifier_alone() {
        let verifier = verifier("pencil").expect("random bytes");
        assert!(matches(&verifier, "pencil"));
        for (verifier, password) in
            [(verifier.as_str(), "Pencil"), ("", ""), ("md5abc", "abc"), ("SCRAM-SHA-256$x:y$z", "")]
        {
            assert!(!matches(verifier, password));
        }
    }

    #[test]
    fn the_verifier_is_what_postgresql_keeps_for_the_same_salt() {
        // From pg_authid of PostgreSQL 15 after CREATE ROLE with password 'pencil', its salt taken over.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("valid base64");
        assert_eq!(
            verifier_with_salt("pencil", &salt, 4096),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
             WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
