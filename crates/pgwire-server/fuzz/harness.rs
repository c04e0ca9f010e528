//! What must hold of the modules that read a client's bytes, for one input of a fuzzer.
//!
//! Included by the fuzz target, which lets libFuzzer choose the inputs, and by the unit tests, which mutate valid messages
//! with a seeded generator. The input's first byte chooses the state of the connection, its second how the bytes are cut
//! into reads; the rest are the bytes.

use bytes::BytesMut;

use crate::decode::{Message, decode, sasl_initial_response};
use crate::frame::{Expect, claimed_bytes, next_frame};
use crate::scram::{Channel, Exchange, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, Verifier};
use crate::startup_packet::{MAX_STARTUP_BYTES, next_packet};

/// The longest message a fuzzed session allows.
const LARGE: usize = 1 << 16;

/// Reads one input.
pub(crate) fn one_input(input: &[u8]) {
    let [state, cut, bytes @ ..] = input else {
        return;
    };
    let cut = usize::from(*cut) + 1;
    match state % 3 {
        0 => startup(bytes, cut),
        1 => session(bytes, cut, Expect::Password),
        _ => session(bytes, cut, Expect::Session { large: LARGE }),
    }
}

/// The first packets of a connection.
fn startup(bytes: &[u8], cut: usize) {
    let at_once = packets(bytes, bytes.len().max(1));
    assert_eq!(at_once, packets(bytes, cut), "it does not matter how the bytes arrive");
}

fn packets(bytes: &[u8], cut: usize) -> String {
    let mut log = String::new();
    let mut input = BytesMut::new();
    for chunk in bytes.chunks(cut) {
        input.extend_from_slice(chunk);
        loop {
            let before = input.len();
            match next_packet(&mut input) {
                Ok(Some(packet)) => {
                    let taken = before - input.len();
                    assert!((8..=MAX_STARTUP_BYTES).contains(&taken));
                    log += &format!("{packet:?}\n");
                }
                Ok(None) => {
                    assert_eq!(input.len(), before);
                    break;
                }
                Err(error) => return log + &error.to_string(),
            }
        }
    }
    log
}

/// The messages of a session, or of an authentication.
fn session(bytes: &[u8], cut: usize, expect: Expect) {
    let at_once = frames(bytes, bytes.len().max(1), expect);
    assert_eq!(at_once, frames(bytes, cut, expect), "it does not matter how the bytes arrive");
}

fn frames(bytes: &[u8], cut: usize, expect: Expect) -> String {
    let mut log = String::new();
    let mut input = BytesMut::new();
    let mut exchange = None;
    for chunk in bytes.chunks(cut) {
        input.extend_from_slice(chunk);
        loop {
            let before = input.len();
            let claimed = claimed_bytes(&input, expect);
            match next_frame(&mut input, expect) {
                Ok(Some(frame)) => {
                    assert_eq!(claimed, Some(frame.body.len() + 5));
                    assert_eq!(before - input.len(), frame.body.len() + 5);
                    match expect {
                        Expect::Password => password(&frame.body, &mut exchange),
                        Expect::Session { .. } => log += &message(frame.kind, &frame.body),
                    }
                }
                Ok(None) => {
                    assert_eq!(input.len(), before);
                    assert!(claimed.is_none_or(|claimed| claimed > before && claimed <= LARGE + 1));
                    break;
                }
                Err(error) => return log + &error.to_string(),
            }
        }
    }
    log
}

/// Decodes a body, and sees that no more room was made than the body takes.
fn message(kind: u8, body: &[u8]) -> String {
    let decoded = decode(kind, body);
    match &decoded {
        Ok(Message::Parse { sql, parameter_oids, .. }) => {
            assert!(sql.len() + parameter_oids.capacity() * 4 <= body.len());
        }
        Ok(Message::Bind(bind)) => {
            let values: usize = bind.parameters.iter().flatten().map(|value| value.len()).sum();
            let formats = bind.parameter_formats.capacity() + bind.result_formats.capacity();
            assert!(values + bind.parameters.capacity() * 4 + formats * 2 <= body.len());
        }
        _ => {}
    }
    format!("{decoded:?}\n")
}

/// Takes a password message for whichever of SCRAM's it could be. Nobody knows the password of a mock.
fn password(body: &[u8], exchange: &mut Option<Exchange>) {
    if let Some(exchange) = exchange.take() {
        assert!(exchange.finish(body).is_err());
        return;
    }
    let Ok((mechanism, first)) = sasl_initial_response(body) else {
        return;
    };
    for mechanism in [mechanism, SCRAM_SHA_256, SCRAM_SHA_256_PLUS] {
        for channel in [Channel::Unbindable, Channel::Tls(b"hash")] {
            let verifier = Verifier::mock("nobody", &[0; 32]);
            if let Ok((begun, _)) = Exchange::begin(mechanism, first, verifier, channel, "nonce") {
                *exchange = Some(begun);
            }
        }
    }
    // Verifiers come from the catalog, which is trusted, but a text that is none must not stop the server.
    if let Ok(text) = std::str::from_utf8(first) {
        let _ = Verifier::parse(text);
    }
}
