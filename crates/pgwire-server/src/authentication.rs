//! Proving who the client is: the messages of SASL around the arithmetic of `scram`.
//!
//! What always holds: a user that does not exist, a user without a password and a wrong password get the same messages
//! and the same error. Whether the user may open a session is the engine's decision, afterwards.

use std::future::Future;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use wharf_values::SqlError;

use crate::decode::sasl_initial_response;
use crate::encode::messages;
use crate::error::{End, authentication_failure, protocol_violation};
use crate::options::{Authentication, Options};
use crate::scram::{Channel, Exchange, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, Verifier};
use crate::wire::Wire;

/// Sees that `user` is who they say; `verifier` finds what is kept of their password, and is asked where there is need.
///
/// # Errors
/// `28P01` for a wrong password or an unknown user, `08P01` for a client that does not keep to SCRAM, and what `verifier` fails with.
pub(crate) async fn authenticate(
    wire: &mut Wire,
    options: &Options,
    user: &str,
    verifier: impl Future<Output = Result<Option<String>, SqlError>>,
) -> Result<(), End> {
    match options.authentication {
        Authentication::Trust => Ok(()),
        Authentication::ScramSha256 => {
            let verifier = verifier.await?.and_then(|text| Verifier::parse(&text));
            let verifier = verifier.unwrap_or_else(|| Verifier::mock(user, &options.mock_authentication_secret));
            scram(wire, options, user, verifier).await
        }
    }
}

async fn scram(wire: &mut Wire, options: &Options, user: &str, verifier: Verifier) -> Result<(), End> {
    let end_point = options.tls.as_ref().and_then(|tls| tls.end_point.as_deref());
    let channel = match end_point {
        Some(hash) if wire.socket.is_encrypted() => Channel::Tls(hash),
        _ => Channel::Unbindable,
    };
    let mechanisms: &[&str] = match channel {
        Channel::Tls(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        Channel::Unbindable => &[SCRAM_SHA_256],
    };
    messages::authentication_sasl(&mut wire.output, mechanisms);
    wire.flush().await?;

    let frame = wire.frame().await?;
    let (mechanism, first) =
        sasl_initial_response(&frame.body).map_err(|error| End::from(protocol_violation(error.to_string())))?;
    if !mechanisms.contains(&mechanism) {
        return Err(End::from(protocol_violation("client selected an invalid SASL authentication mechanism")));
    }
    let failed = |error: ScramError| authentication_failure(error, user);
    let (exchange, server_first) =
        Exchange::begin(mechanism, first, verifier, channel, &server_nonce()).map_err(failed)?;
    messages::authentication_sasl_continue(&mut wire.output, &server_first);
    wire.flush().await?;

    let frame = wire.frame().await?;
    let server_final = exchange.finish(&frame.body).map_err(failed)?;
    // Sent together with what follows.
    messages::authentication_sasl_final(&mut wire.output, &server_final);
    Ok(())
}

/// 18 random bytes, printable, as PostgreSQL makes them.
fn server_nonce() -> String {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    BASE64.encode(bytes)
}
