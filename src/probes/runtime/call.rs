//! One call to a gRPC server on a Unix socket: a message there, a message back.

use crate::host::{Deadline, Elapsed};
use h2::client::SendRequest;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Method, Request, Version};
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// The longest answer that is taken in; a version has 50 bytes, a status 150.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// An empty message: not compressed, length 0.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// The method is not known to the server.
pub(super) const UNIMPLEMENTED: u16 = 12;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is no such socket.
    #[error("there is no socket")]
    NoSocket,
    /// Nobody listens on the socket.
    #[error("nobody listens")]
    Refused,
    /// The socket may not be used.
    #[error("no rights to use the socket")]
    NoRights(#[source] io::Error),
    /// Connecting failed for a reason of our own.
    #[error("connecting failed")]
    Connect(#[source] io::Error),
    /// The connection broke, or the other side speaks another language.
    #[error("the connection broke")]
    Closed(#[source] h2::Error),
    /// It did not answer in time.
    #[error("no answer")]
    Late(#[from] Elapsed),
    /// It answered with an error.
    #[error("the answer is status {0}")]
    Status(u16),
    /// It answered with something that is no message, or too long.
    #[error("the answer is garbled")]
    Garbled,
}

impl CallError {
    /// A short stable word.
    pub(super) fn kind(&self) -> String {
        match self {
            CallError::NoSocket => "no-socket".to_owned(),
            CallError::Refused => "refused".to_owned(),
            CallError::NoRights(_) => "no-rights".to_owned(),
            CallError::Connect(_) => "connect".to_owned(),
            CallError::Closed(_) => "closed".to_owned(),
            CallError::Late(_) => "late".to_owned(),
            CallError::Status(status) => format!("status-{status}"),
            CallError::Garbled => "garbled".to_owned(),
        }
    }
}

impl From<h2::Error> for CallError {
    fn from(error: h2::Error) -> Self {
        CallError::Closed(error)
    }
}

/// Calls each of `methods` (`/service/Method`) with an empty message, one after the other on one connection. An answer that
/// is an error does not keep the next one from being asked.
///
/// # Errors
/// Nobody could be asked, or not all answers came.
pub(super) async fn call<const N: usize>(
    socket: &Path,
    methods: [&str; N],
    deadline: Deadline,
) -> Result<[Result<Vec<u8>, CallError>; N], CallError> {
    deadline.bound(talk(socket, methods)).await?
}

/// Whether somebody listens on a socket; `None` where there is none. One that cannot be used is for a call to tell.
pub(super) async fn takes_calls(socket: &Path) -> Option<bool> {
    match UnixStream::connect(socket).await.map_err(connect_error) {
        Err(CallError::NoSocket) => None,
        Err(CallError::Refused) => Some(false),
        Ok(_) | Err(_) => Some(true),
    }
}

async fn talk<const N: usize>(
    socket: &Path,
    methods: [&str; N],
) -> Result<[Result<Vec<u8>, CallError>; N], CallError> {
    let stream = UnixStream::connect(socket).await.map_err(connect_error)?;
    let (mut requests, connection) = h2::client::handshake(stream).await?;
    let work = async move {
        let mut answers = methods.map(|_| Err(CallError::Garbled));
        for (method, answer) in methods.iter().zip(&mut answers) {
            *answer = match ask(&mut requests, method).await {
                Err(error @ CallError::Closed(_)) => return Err(error),
                other => other,
            };
        }
        Ok(answers)
    };
    // The connection moves only while it is polled; it ends with this function.
    tokio::select! {
        biased;
        answers = work => answers,
        ended = connection => Err(match ended {
            Err(error) => CallError::Closed(error),
            Ok(()) => CallError::Closed(h2::Reason::NO_ERROR.into()),
        }),
    }
}

async fn ask(requests: &mut SendRequest<Bytes>, method: &str) -> Result<Vec<u8>, CallError> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://localhost{method}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(())
        .map_err(|_invalid| CallError::Garbled)?;
    std::future::poll_fn(|context| requests.poll_ready(context)).await?;
    let (response, mut body) = requests.send_request(request, false)?;
    body.send_data(Bytes::from_static(&EMPTY_MESSAGE), true)?;
    let (head, mut body) = response.await?.into_parts();
    if !head.status.is_success() {
        return Err(CallError::Garbled);
    }
    let mut answer = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(CallError::Garbled);
        }
        answer.extend_from_slice(&chunk);
    }
    // An error without a message comes in the headers, everything else in the trailers.
    let trailers = body.trailers().await?.unwrap_or_default();
    match status(&trailers).or_else(|| status(&head.headers)) {
        Some(0) => message_of(&answer),
        Some(status) => Err(CallError::Status(status)),
        None => Err(CallError::Garbled),
    }
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The message behind its prefix: a byte that says whether it is compressed, and its length.
fn message_of(answer: &[u8]) -> Result<Vec<u8>, CallError> {
    let (prefix, message) = answer.split_first_chunk::<5>().ok_or(CallError::Garbled)?;
    let [compressed, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| CallError::Garbled)?;
    if compressed != 0 || message.len() != length {
        return Err(CallError::Garbled);
    }
    Ok(message.to_vec())
}

fn connect_error(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::NotFound => CallError::NoSocket,
        io::ErrorKind::ConnectionRefused => CallError::Refused,
        io::ErrorKind::PermissionDenied => CallError::NoRights(error),
        _ => CallError::Connect(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_out_of_its_frame() {
        for (answer, message) in [
            (&b"\0\0\0\0\x02ab"[..], Some(&b"ab"[..])),
            (b"\0\0\0\0\0", Some(b"")),
            (b"\x01\0\0\0\x02ab", None),
            (b"\0\0\0\0\x03ab", None),
            (b"\0\0\0\0\x01ab", None),
            (b"\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(message_of(answer).ok().as_deref(), message, "{answer:?}");
        }
    }
}
