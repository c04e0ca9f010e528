//! Bearer tokens: JSON web tokens (RFC 7519) signed with HMAC-SHA-256.
//!
//! What always holds: a token is taken only with this server's signature, before it expires, and while its role has the
//! password it had; so a changed password and a dropped role end all tokens. A token can be exchanged for a fresh one, but
//! not for ever: after [`MAX_AGE_S`] the password is asked for again.

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

/// What a token says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    /// The role.
    sub: String,
    /// When it was made.
    iat: u64,
    /// When it expires.
    exp: u64,
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

/// The signing and checking of tokens.
pub(crate) struct Tokens {
    key: Hmac<Sha256>,
}

impl Tokens {
    pub(crate) fn new(secret: [u8; 32]) -> Tokens {
        Tokens { key: <Hmac<Sha256> as Mac>::new_from_slice(&secret).expect("HMAC takes keys of any length") }
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

    /// A fresh token for one that is still good; how long it is good for, too.
    pub(crate) fn renew(
        &self,
        token: &str,
        now_s: u64,
        lifetime_s: u64,
        find: impl FnOnce(&str) -> Option<Role>,
    ) -> Result<(String, u64), Refused> {
        let claims = self.claims(token, now_s, find)?;
        let end = claims.auth_time.saturating_add(MAX_AGE_S);
        let exp = now_s.saturating_add(lifetime_s).min(end);
        if exp <= now_s {
            return Err(Refused::Expired);
        }
        Ok((self.sign(&Claims { iat: now_s, exp, ..claims }), exp - now_s))
    }

    /// The role a token is for. `find` looks a role up by its name.
    pub(crate) fn role_of(
        &self,
        token: &str,
        now_s: u64,
        find: impl FnOnce(&str) -> Option<Role>,
    ) -> Result<String, Refused> {
        self.claims(token, now_s, find).map(|claims| claims.sub)
    }

    fn claims(&self, token: &str, now_s: u64, find: impl FnOnce(&str) -> Option<Role>) -> Result<Claims, Refused> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Invalid)?;
        let signature = BASE64.decode(signature).map_err(|_| Refused::Invalid)?;
        let mut mac = self.key.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).map_err(|_| Refused::Invalid)?;
        // What follows was signed by this server, so its header is known.
        let (_, body) = signed.split_once('.').ok_or(Refused::Invalid)?;
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

    fn sign(&self, claims: &Claims) -> String {
        let body = serde_json::to_vec(claims).expect("claims are plain data");
        let signed = format!("{}.{}", BASE64.encode(HEADER), BASE64.encode(body));
        let mut mac = self.key.clone();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
    }
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

    #[test]
    fn a_token_is_good_until_it_expires() {
        let tokens = Tokens::new([7; 32]);
        let alice = role("alice", Some("verifier"));
        let token = tokens.issue(&alice, 1_000, 60);
        let at = |now| tokens.role_of(&token, now, |name| (name == "alice").then(|| alice.clone()));
        assert_eq!(at(1_059), Ok("alice".to_owned()));
        assert_eq!(at(1_060), Err(Refused::Expired));
        let changed = tokens.role_of(&token, 1_001, |_| Some(role("alice", Some("another"))));
        assert_eq!(changed, Err(Refused::Expired), "a new password ends old tokens");
        assert_eq!(tokens.role_of(&token, 1_001, |_| None), Err(Refused::Invalid));
        let stranger = Tokens::new([8; 32]).role_of(&token, 1_001, |_| Some(alice.clone()));
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
                assert_eq!(tokens.role_of(&changed, 1_001, |_| Some(alice.clone())), Err(Refused::Invalid), "{index}");
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
            let renewed = tokens.renew(&token, now, 3_600, |_| Some(alice.clone())).unwrap();
            assert_eq!(renewed.1, 3_600);
            token = renewed.0;
        }
        now += 3_599;
        let (last, lifetime) = tokens.renew(&token, now, 3_600, |_| Some(alice.clone())).unwrap();
        assert_eq!(lifetime, MAX_AGE_S - now);
        assert_eq!(tokens.role_of(&last, MAX_AGE_S, |_| Some(alice.clone())), Err(Refused::Expired));
    }
}
