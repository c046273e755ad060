//! A client of a runs gateway: it submits runs, follows them over lost connections, and ends them.
//!
//! gRPC is spoken over [`h2`] here, since it is small: five bytes before each message, and trailers behind the last one.

mod call;
mod channel;
mod client;
mod details;
mod error;
mod following;
mod link;
mod many_runs_stream;
mod outage;
mod results;
mod run_picture;
mod run_set;
mod run_stream;
mod security;
mod set_stream;
mod target;

/// The messages of the contract.
pub mod v1 {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/runs.v1.rs"));
}

pub use client::{json, Client};
pub use error::{Code, Error, Violation};
pub use following::Following;
pub use many_runs_stream::{ManyRunsStream, ManyWatch, RunEvent};
pub use results::Results;
pub use run_picture::RunPicture;
pub use run_set::RunSet;
pub use run_stream::{has_ended, RunStream, Update, Watch};
pub use security::{Identity, Security};
pub use set_stream::{SetEvent, SetStream, SetWatch};
