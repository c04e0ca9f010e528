//! Bearer tokens: JSON web tokens (RFC 7519) signed with HMAC-SHA-256.
//!
//! What always holds: a token is taken only with the signature of this node, or of one that says so (`vouched`), before
//! it expires, and while its role has the password it had; so a changed password and a dropped role end all tokens. A
//! token can be exchanged for a fresh one, but not for ever: after [`MAX_AGE_S`] the password is asked for again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wharf_catalog::Role;

/// How long the password's proof is good for, through all exchanges of tokens.
const MAX_AGE_S: u64 = 24 * 3_600;
/// The header of every token.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// More than the longest name of a role takes.
const MAX_TOKEN_BYTES: usize = 2_048;
/// The length of a signature.
const SIGNATURE_BYTES: usize = 32;

/// What a token says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The role.
    pub(crate) sub: String,
    /// When it was made.
    iat: u64,
    /// When it expires.
    pub(crate) exp: u64,
    /// When the password was proven.
    auth_time: u64,
    /// A fingerprint of the role's verifier at that time.
    pwd: String,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Nobody signed this.
    #[error("the token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
}

/// The signing of tokens with one secret, and the checking of signatures.
pub struct Tokens {
    key: Hmac<Sha256>,
}

impl Tokens {
    /// Those of a node with this secret.
    pub fn new(secret: [u8; 32]) -> Tokens {
        Tokens { key: <Hmac<Sha256> as Mac>::new_from_slice(&secret).expect("HMAC takes keys of any length") }
    }

    /// Was this token signed with this secret? Whether it is good besides is not looked at.
    pub fn has_signed(&self, token: &str) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = BASE64.decode(signature) else { return false };
        let mut mac = self.key.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).is_ok()
    }

    /// A token for a role that has just proven who it is.
    pub(crate) fn issue(&self, role: &Role, now_s: u64, lifetime_s: u64) -> String {
        self.sign(&Claims {
            sub: role.name.clone(),
            iat: now_s,
            exp: now_s.saturating_add(lifetime_s),
            auth_time: now_s,
            pwd: fingerprint(role),
        })
    }

    /// A fresh token for one that is still good, by its claims; how long it is good for, too.
    pub(crate) fn renew(&self, claims: Claims, now_s: u64, lifetime_s: u64) -> Result<(String, u64), Refused> {
        let end = claims.auth_time.saturating_add(MAX_AGE_S);
        let exp = now_s.saturating_add(lifetime_s).min(end);
        if exp <= now_s {
            return Err(Refused::Expired);
        }
        Ok((self.sign(&Claims { iat: now_s, exp, ..claims }), exp - now_s))
    }

    fn sign(&self, claims: &Claims) -> String {
        let body = serde_json::to_vec(claims).expect("claims are plain data");
        let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(body));
        let mut mac = self.key.clone();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

/// What a token says that has the form of ours, has not expired, and whose role has the password it had. `find` looks a
/// role up by its name. Whether anybody has signed it is not looked at.
///
/// # Errors
/// Why it is none.
pub(crate) fn read(token: &str, now_s: u64, find: impl FnOnce(&str) -> Option<Role>) -> Result<Claims, Refused> {
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, body, signature] = parts[..] else { return Err(Refused::Invalid) };
    let is_signature = BASE64.decode(signature).is_ok_and(|signature| signature.len() == SIGNATURE_BYTES);
    if token.len() > MAX_TOKEN_BYTES || header != BASE64.encode(HEADER) || !is_signature {
        return Err(Refused::Invalid);
    }
    let body = BASE64.decode(body).map_err(|_| Refused::Invalid)?;
    let claims: Claims = serde_json::from_slice(&body).map_err(|_| Refused::Invalid)?;
    if claims.exp <= now_s {
        return Err(Refused::Expired);
    }
    let role = find(&claims.sub).ok_or(Refused::Invalid)?;
    if fingerprint(&role) != claims.pwd {
        return Err(Refused::Expired);
    }
    Ok(claims)
}

/// Tells verifiers apart without showing them.
fn fingerprint(role: &Role) -> String {
    let mut digest = Sha256::new();
    digest.update(role.oid.to_be_bytes());
    digest.update(role.password.as_deref().unwrap_or_default());
    BASE64.encode(&digest.finalize()[..12])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn role(name: &str, password: Option<&str>) -> Role {
        Role {
            oid: 10,
            name: name.to_owned(),
            superuser: true,
            login: true,
            password: password.map(str::to_owned),
            comment: None,
        }
    }

    /// As for a token of one's own.
    fn claims(
        tokens: &Tokens,
        token: &str,
        now_s: u64,
        find: impl FnOnce(&str) -> Option<Role>,
    ) -> Result<Claims, Refused> {
        if tokens.has_signed(token) { read(token, now_s, find) } else { Err(Refused::Invalid) }
    }

    fn role_of(
        tokens: &Tokens,
        token: &str,
        now_s: u64,
        find: impl FnOnce(&str) -> Option<Role>,
    ) -> Result<String, Refused> {
        claims(tokens, token, now_s, find).map(|claims| claims.sub)
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let tokens = Tokens::new([7; 32]);
        let alice = role("alice", Some("verifier"));
        let token = tokens.issue(&alice, 1_000, 60);
        let at = |now| role_of(&tokens, &token, now, |name| (name == "alice").then(|| alice.clone()));
        assert_eq!(at(1_059), Ok("alice".to_owned()));
        assert_eq!(at(1_060), Err(Refused::Expired));
        let changed = role_of(&tokens, &token, 1_001, |_| Some(role("alice", Some("another"))));
        assert_eq!(changed, Err(Refused::Expired), "a new password ends old tokens");
        assert_eq!(role_of(&tokens, &token, 1_001, |_| None), Err(Refused::Invalid));
        let stranger = role_of(&Tokens::new([8; 32]), &token, 1_001, |_| Some(alice.clone()));
        assert_eq!(stranger, Err(Refused::Invalid), "another server's secret");
    }

    #[test]
    fn no_changed_byte_is_taken() {
        let tokens = Tokens::new([7; 32]);
        let alice = role("alice", None);
        let token = tokens.issue(&alice, 1_000, 60);
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if changed != token {
                assert_eq!(
                    role_of(&tokens, &changed, 1_001, |_| Some(alice.clone())),
                    Err(Refused::Invalid),
                    "{index}"
                );
            }
        }
    }

    #[test]
    fn exchanges_end_with_the_day() {
        let tokens = Tokens::new([7; 32]);
        let alice = role("alice", None);
        let mut token = tokens.issue(&alice, 0, 3_600);
        let mut now = 0;
        for _ in 0..23 {
            now += 3_599;
            let renewed =
                tokens.renew(claims(&tokens, &token, now, |_| Some(alice.clone())).unwrap(), now, 3_600).unwrap();
            assert_eq!(renewed.1, 3_600);
            token = renewed.0;
        }
        now += 3_599;
        let (last, lifetime) =
            tokens.renew(claims(&tokens, &token, now, |_| Some(alice.clone())).unwrap(), now, 3_600).unwrap();
        assert_eq!(lifetime, MAX_AGE_S - now);
        assert_eq!(role_of(&tokens, &last, MAX_AGE_S, |_| Some(alice.clone())), Err(Refused::Expired));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let alice = role("alice", Some("verifier"));
        let token = Tokens::new([7; 32]).issue(&alice, 1_000, 60);
        let read = |token: &str| read(token, 1_001, |_| Some(alice.clone())).map(|claims| claims.exp);
        assert_eq!(read(&token), Ok(1_060));
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        let others = [
            signed.to_owned(),
            format!("{signed}."),
            format!("{signed}.{}", BASE64.encode([0; SIGNATURE_BYTES - 1])),
            format!("{token}."),
            format!("{}.{rest}", BASE64.encode(r#"{"alg":"none"}"#)),
            Tokens::new([7; 32]).issue(&role(&"a".repeat(MAX_TOKEN_BYTES), Some("verifier")), 1_000, 60),
        ];
        for other in others {
            assert_eq!(read(&other), Err(Refused::Invalid), "{other}");
        }
    }
}
