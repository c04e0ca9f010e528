//! How a call fails.

use std::error::Error;

use tonic::{Code, Status};

/// Why a call has no answer. Unless it was refused, the peer may have got it all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection: nobody listens, the name is not known, or the connection broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No answer within the deadline.
    #[error("did not answer in time")]
    Timeout,
    /// The peer is there and said no, or this node did: a certificate that is not trusted, a message that is too large, too many
    /// calls, a service that is not there.
    #[error("refused: {0}")]
    Refused(String),
}

/// What rustls says of a certificate that this side does not take, and what it heard from a peer that does not take ours.
const CERTIFICATE_REFUSALS: [&str; 2] = ["invalid peer certificate", "received fatal alert"];

impl From<Status> for CallError {
    fn from(status: Status) -> CallError {
        match status.code() {
            Code::DeadlineExceeded => return CallError::Timeout,
            // What tonic makes of a deadline that passed, on either side.
            Code::Cancelled if status.message() == tonic::TimeoutExpired(()).to_string() => return CallError::Timeout,
            _ => {}
        }
        // An answer has no error behind it: the peer has sent it, or a limit of this side has spoken.
        let Some(source) = status.source() else {
            let message = match status.message() {
                "" => status.code().description(),
                message => message,
            };
            return CallError::Refused(message.to_owned());
        };
        let reasons = reasons(source);
        let refused = CERTIFICATE_REFUSALS.iter().any(|refusal| reasons.contains(refusal));
        if refused { CallError::Refused(reasons) } else { CallError::Unreachable(reasons) }
    }
}

/// The messages of an error and of what is behind it; one that repeats what is said already is left out.
pub(crate) fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = source.source();
    }
    text
}
