//! Why a call has failed.

use std::fmt;
use std::time::Duration;

use prost::Message;

use crate::details::{BadRequest, ErrorInfo, RetryInfo, Status};
use crate::v1::WatchError;

const DOMAIN: &str = "runs-gateway";

/// The status of a call that has failed, by the numbers of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    Cancelled = 1,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

const CODES: [(Code, &str); 16] = [
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

/// By these, others than the gateway report a cut. Calls tell nobody their deadlines: one that is told is that of a proxy.
const CUTS: [Code; 5] = [Code::Aborted, Code::Cancelled, Code::DeadlineExceeded, Code::Internal, Code::Unknown];

impl Code {
    /// Returns the code of a number; those that gRPC does not have are unknown.
    pub(crate) fn from_number(number: i32) -> Code {
        CODES.iter().map(|(code, _)| *code).find(|code| *code as i32 == number).unwrap_or(Code::Unknown)
    }

    /// Returns its name, as `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        CODES[self as usize - 1].1
    }
}

/// What is wrong with a field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Why a call has failed: what the gateway says, or what has become of the connection.
#[derive(Clone, Debug)]
pub struct Error {
    /// The status.
    pub code: Code,
    /// What went wrong, for people.
    pub message: String,
    /// The reason in upper case that the gateway gives. Where nobody gives one, it is the name of the code.
    pub reason: String,
    /// What is wrong with which fields, if it is an invalid argument.
    pub violations: Vec<Violation>,
    /// After what time the gateway asks to be called again.
    pub retry_after: Option<Duration>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Error {
        let reason = code.name().to_string();
        Error { code, message: message.into(), reason, violations: Vec::new(), retry_after: None }
    }

    /// Returns the error for a connection that is lost, or a stream that has ended although there was more to come.
    pub(crate) fn cut(why: impl fmt::Display) -> Error {
        Error::new(Code::Unavailable, format!("the gateway cannot be reached: {}", why))
    }

    /// Returns the error for a stream that was to go on, and has ended with OK.
    pub(crate) fn too_early() -> Error {
        Error::cut("the stream has ended too early")
    }

    /// Returns the error for which one run or set of a stream cannot be followed.
    pub(crate) fn from_watch(error: WatchError) -> Error {
        Error::from_status(error.code, error.message, &error.status_details)
    }

    /// Returns the error for the code, the message and the serialized details of a status.
    pub(crate) fn from_status(number: i32, message: String, details: &[u8]) -> Error {
        let code = Code::from_number(number);
        let status = Status::decode(details).unwrap_or_default();
        match status.detail::<ErrorInfo>("ErrorInfo").filter(|info| info.domain == DOMAIN) {
            Some(info) => Error {
                reason: info.reason,
                violations: violations(&status),
                retry_after: retry_after(&status),
                ..Error::new(code, message)
            },
            // It is not the gateway that says so: the connection to it is cut.
            None if CUTS.contains(&code) => Error::cut(message),
            None => Error::new(code, message),
        }
    }

    /// Returns whether the same call may succeed later.
    pub fn passes(&self) -> bool {
        self.code == Code::Unavailable || self.retry_after.is_some()
    }

    /// Returns whether the gateway goes on, and only asks for another connection.
    pub(crate) fn goes_away(&self) -> bool {
        self.reason == "GO_AWAY"
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Error {}

fn violations(status: &Status) -> Vec<Violation> {
    let fields = status.detail::<BadRequest>("BadRequest").unwrap_or_default().field_violations;
    fields.into_iter().map(|each| Violation { field: each.field, description: each.description }).collect()
}

fn retry_after(status: &Status) -> Option<Duration> {
    status.detail::<RetryInfo>("RetryInfo")?.retry_delay?.try_into().ok()
}
