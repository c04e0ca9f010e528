//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it: the messages and the arithmetic.
//!
//! What always holds: the server never sees the password, and a user that does not exist is asked the same questions as
//! one that does ([`Verifier::mock`]) and fails at the same place with the same arithmetic. Comparisons of secrets take
//! the same time wherever they differ. How the messages travel is not said here but in `authentication`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The mechanism without channel binding.
pub(crate) const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub(crate) const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// PostgreSQL's default number of iterations.
const DEFAULT_ITERATIONS: u32 = 4096;
/// The length of the salt PostgreSQL makes.
const SALT_BYTES: usize = 16;

type Key = [u8; 32];

/// What the server keeps of a password: it can check a proof, but not make one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
    /// A verifier nobody has the password of.
    doomed: bool,
}

/// Why an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    /// A message is not what the RFC says; the text is PostgreSQL's detail.
    #[error("malformed SCRAM message")]
    Malformed(&'static str),
    /// The client wants something the server does not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The client believes the server to be unable to bind channels although it offered to: somebody is in between.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// The client is bound to another channel than this one.
    #[error("SCRAM channel binding check failed")]
    ChannelMismatch,
    /// The proof is wrong, or the user does not exist.
    #[error("password authentication failed")]
    WrongPassword,
}

impl Verifier {
    /// Reads PostgreSQL's form, `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.
    pub(crate) fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text| BASE64.decode(text).ok()?.try_into().ok();
        Some(Verifier {
            iterations: iterations.parse().ok().filter(|iterations| *iterations > 0)?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
            doomed: false,
        })
    }

    /// A verifier for a user without a password. The salt depends on the user's name and the server's secret alone, so
    /// that asking twice shows the same one, as for a real user.
    pub(crate) fn mock(user: &str, secret: &[u8; 32]) -> Verifier {
        let digest = hmac(secret, &[b"salt", user.as_bytes()]);
        Verifier {
            iterations: DEFAULT_ITERATIONS,
            salt: digest[..SALT_BYTES].to_vec(),
            stored_key: hmac(secret, &[b"stored", user.as_bytes()]),
            server_key: hmac(secret, &[b"server", user.as_bytes()]),
            doomed: true,
        }
    }
}

/// The channel the exchange runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel<'a> {
    /// Nothing the client could be bound to: no TLS, or a certificate without a usable hash.
    Unbindable,
    /// TLS; the hash of the server's certificate (`tls-server-end-point`, RFC 5929).
    Tls(&'a [u8]),
}

/// The server after its first message: it waits for the proof.
pub(crate) struct Exchange {
    verifier: Verifier,
    /// What the client's `c=` attribute must decode to.
    expected_binding: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Takes the client's first message, `n,,n=user,r=nonce`, and gives the exchange and the server's first message.
    /// `server_nonce` must be fresh, printable and without commas.
    pub(crate) fn begin(
        mechanism: &str,
        message: &[u8],
        verifier: Verifier,
        channel: Channel<'_>,
        server_nonce: &str,
    ) -> Result<(Exchange, String), ScramError> {
        let message = text(message)?;
        let (header, bare) = split_gs2_header(message)?;
        let bound = check_binding_flag(mechanism, header, channel)?;
        let mut attributes = bare.split(',');
        match attributes.next() {
            Some(user) if user.starts_with("n=") => {}
            Some(extension) if extension.starts_with("m=") => {
                return Err(ScramError::Unsupported("client requires an unsupported SCRAM extension"));
            }
            _ => return Err(ScramError::Malformed("Expected the attribute \"n\".")),
        }
        // PostgreSQL takes the user's name from the startup packet and does not look at this one either.
        let client_nonce = attribute(attributes.next(), "r=", "Expected the attribute \"r\".")?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("Non-printable characters in SCRAM nonce."));
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let mut expected_binding = header.as_bytes().to_vec();
        expected_binding.extend_from_slice(bound);
        let exchange = Exchange {
            verifier,
            expected_binding,
            nonce,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
        };
        Ok((exchange, server_first))
    }

    /// Takes the client's final message, `c=binding,r=nonce,p=proof`, checks the proof and gives the server's own.
    pub(crate) fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let message = text(message)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(ScramError::Malformed("Expected the attribute \"p\"."))?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), "c=", "Expected the attribute \"c\".")?;
        let nonce = attribute(attributes.next(), "r=", "Expected the attribute \"r\".")?;
        let binding = BASE64.decode(binding).map_err(|_| ScramError::Malformed("Malformed channel binding."))?;
        let proof: Key = BASE64
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(ScramError::Malformed("Malformed proof in client-final-message."))?;
        if !same(&binding, &self.expected_binding) {
            return Err(ScramError::ChannelMismatch);
        }
        if !same(nonce.as_bytes(), self.nonce.as_bytes()) {
            return Err(ScramError::Malformed("Nonce does not match."));
        }
        let parts: [&[u8]; 5] =
            [self.client_first_bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac(&self.verifier.stored_key, &parts);
        let mut client_key = proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let proven = same(&Sha256::digest(client_key), &self.verifier.stored_key);
        if !proven || self.verifier.doomed {
            return Err(ScramError::WrongPassword);
        }
        Ok(format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, &parts))))
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("The message is not UTF-8."))
}

fn attribute<'a>(part: Option<&'a str>, name: &str, missing: &'static str) -> Result<&'a str, ScramError> {
    part.and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed(missing))
}

/// Splits `n,,n=user,r=nonce` after the second comma.
fn split_gs2_header(message: &str) -> Result<(&str, &str), ScramError> {
    let mut commas = message.match_indices(',').map(|(index, _)| index);
    let (Some(first), Some(second)) = (commas.next(), commas.next()) else {
        return Err(ScramError::Malformed("The message is cut short."));
    };
    if second > first + 1 {
        return Err(ScramError::Unsupported("client uses authorization identity, but it is not supported"));
    }
    Ok(message.split_at(second + 1))
}

/// Checks the client's wish for channel binding and gives the bytes it must be bound to.
fn check_binding_flag<'a>(mechanism: &str, header: &str, channel: Channel<'a>) -> Result<&'a [u8], ScramError> {
    let plus = mechanism == SCRAM_SHA_256_PLUS;
    let flag = header.split(',').next().unwrap_or_default();
    match (flag, channel) {
        ("n" | "y", _) if plus => Err(ScramError::Malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        )),
        ("n", _) => Ok(b""),
        ("y", Channel::Unbindable) => Ok(b""),
        // The client could bind and believes that the server cannot, but the server has offered it.
        ("y", Channel::Tls(_)) => Err(ScramError::Downgrade),
        ("p=tls-server-end-point", Channel::Tls(hash)) if plus => Ok(hash),
        (flag, _) if flag.starts_with("p=") && !plus => Err(ScramError::Malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
        )),
        (flag, _) if flag.starts_with("p=") => Err(ScramError::Unsupported("unsupported SCRAM channel-binding type")),
        _ => Err(ScramError::Malformed("Unexpected channel-binding flag.")),
    }
}

/// Compares secrets without stopping at the first difference.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

fn hmac(key: &Key, parts: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // The example of RFC 7677: user "user", password "pencil".
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &[u8] =
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn begin(mechanism: &str, first: &[u8], channel: Channel<'_>) -> Result<(Exchange, String), ScramError> {
        Exchange::begin(mechanism, first, Verifier::parse(VERIFIER).unwrap(), channel, SERVER_NONCE)
    }

    #[test]
    fn the_rfcs_example_is_accepted() {
        let (exchange, first) = begin(SCRAM_SHA_256, CLIENT_FIRST, Channel::Unbindable).unwrap();
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(exchange.finish(CLIENT_FINAL).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_proof_a_wrong_nonce_and_a_wrong_binding_are_refused() {
        let finish = |from: &str, to: &str| {
            let (exchange, _) = begin(SCRAM_SHA_256, CLIENT_FIRST, Channel::Unbindable).unwrap();
            let message = String::from_utf8(CLIENT_FINAL.to_vec()).unwrap();
            assert!(message.contains(from));
            exchange.finish(message.replace(from, to).as_bytes()).unwrap_err()
        };
        assert_eq!(finish("p=dH", "p=eH"), ScramError::WrongPassword);
        assert_eq!(finish("r=rO", "r=sO"), ScramError::Malformed("Nonce does not match."));
        assert_eq!(finish("c=biws", "c=eSws"), ScramError::ChannelMismatch);
        assert_eq!(finish(",p=", ",q="), ScramError::Malformed("Expected the attribute \"p\"."));
    }

    #[test]
    fn a_mock_looks_like_a_user_and_never_passes() {
        let secret = [7; 32];
        let mock = Verifier::mock("nobody", &secret);
        assert!(mock == Verifier::mock("nobody", &secret));
        assert!(mock.salt != Verifier::mock("somebody", &secret).salt);
        let begin = || {
            let mock = Verifier::mock("nobody", &secret);
            Exchange::begin(SCRAM_SHA_256, CLIENT_FIRST, mock, Channel::Unbindable, SERVER_NONCE).unwrap()
        };
        let (exchange, first) = begin();
        assert!(first.ends_with(",i=4096"));
        assert_eq!(exchange.finish(CLIENT_FINAL).unwrap_err(), ScramError::WrongPassword);
        // Even the keys themselves would not help.
        let (mut exchange, _) = begin();
        exchange.verifier = Verifier { doomed: true, ..Verifier::parse(VERIFIER).unwrap() };
        assert_eq!(exchange.finish(CLIENT_FINAL).unwrap_err(), ScramError::WrongPassword);
    }

    #[test]
    fn channel_binding_is_held_to_what_was_negotiated() {
        let error = |mechanism, first: &[u8], channel| begin(mechanism, first, channel).err().unwrap();
        let tls = Channel::Tls(b"hash");
        assert_eq!(error(SCRAM_SHA_256, b"y,,n=,r=abc", tls), ScramError::Downgrade);
        assert!(begin(SCRAM_SHA_256, b"y,,n=,r=abc", Channel::Unbindable).is_ok());
        assert!(matches!(error(SCRAM_SHA_256_PLUS, b"n,,n=,r=abc", tls), ScramError::Malformed(_)));
        assert!(matches!(error(SCRAM_SHA_256, b"p=tls-server-end-point,,n=,r=abc", tls), ScramError::Malformed(_)));
        assert!(matches!(error(SCRAM_SHA_256_PLUS, b"p=tls-unique,,n=,r=abc", tls), ScramError::Unsupported(_)));
        let (exchange, _) = begin(SCRAM_SHA_256_PLUS, b"p=tls-server-end-point,,n=,r=abc", tls).unwrap();
        assert_eq!(exchange.expected_binding, b"p=tls-server-end-point,,hash");
    }

    #[test]
    fn verifiers_that_are_none_are_refused() {
        assert!(Verifier::parse(VERIFIER).is_some());
        for text in [
            "",
            "md5abc",
            "SCRAM-SHA-256$4096:salt",
            "SCRAM-SHA-256$0:AA==$AA==:AA==",
            "SCRAM-SHA-256$x:AA==$AA==:AA==",
        ] {
            assert!(Verifier::parse(text).is_none(), "{text}");
        }
    }
}
