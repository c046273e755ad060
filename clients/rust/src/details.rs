//! The messages of `google.rpc` that an error brings. They are few and small, so they are written here.

use std::collections::HashMap;

use prost::Message;
use prost_types::{Any, Duration};

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

impl Status {
    /// Returns the detail of this type; `None` if there is none that can be read.
    pub fn detail<M: Message + Default>(&self, name: &str) -> Option<M> {
        let suffix = format!("/google.rpc.{}", name);
        let detail = self.details.iter().find(|detail| detail.type_url.ends_with(&suffix))?;
        M::decode(detail.value.as_slice()).ok()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(string, tag = "2")]
    pub domain: String,
    #[prost(map = "string, string", tag = "3")]
    pub metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FieldViolation {
    #[prost(string, tag = "1")]
    pub field: String,
    #[prost(string, tag = "2")]
    pub description: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Duration>,
}
