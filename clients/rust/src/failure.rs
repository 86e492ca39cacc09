use std::time::Duration;

use prost::Message;
use tonic::Code;

use crate::google::rpc;

/// An error of Sensorium with its details decoded; a detail that did not come is `None`.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// Which fields are at fault, and what was expected.
    pub bad_request: Option<rpc::BadRequest>,
    /// The reason, by `ErrorReason`: what programs branch on, after the code.
    pub info: Option<rpc::ErrorInfo>,
    /// When to try again.
    pub retry: Option<rpc::RetryInfo>,
}

impl Failure {
    fn new(code: Code, message: &str, details: &[prost_types::Any]) -> Self {
        Failure {
            code,
            message: message.to_owned(),
            bad_request: detail(details, "BadRequest"),
            info: detail(details, "ErrorInfo"),
            retry: detail(details, "RetryInfo"),
        }
    }

    /// Returns the reason by its name in `ErrorReason`; "" where none came.
    pub fn reason(&self) -> &str {
        self.info.as_ref().map_or("", |info| info.reason.as_str())
    }

    /// Returns how long to wait before another try; `None`: another try is of no use.
    pub fn retry_delay(&self) -> Option<Duration> {
        let delay = self.retry.as_ref()?.retry_delay.clone().unwrap_or_default();
        Some(Duration::try_from(delay).unwrap_or_default()) // a negative delay is none
    }
}

/// What a call's error says; the details come in the trailer grpc-status-details-bin.
impl From<&tonic::Status> for Failure {
    fn from(status: &tonic::Status) -> Self {
        let decoded = rpc::Status::decode(status.details()).unwrap_or_default();
        Failure::new(status.code(), status.message(), &decoded.details)
    }
}

/// What the error of one item of a batch says.
impl From<&rpc::Status> for Failure {
    fn from(status: &rpc::Status) -> Self {
        Failure::new(Code::from_i32(status.code), &status.message, &status.details)
    }
}

fn detail<M: Message + Default>(details: &[prost_types::Any], name: &str) -> Option<M> {
    let url = format!("type.googleapis.com/google.rpc.{name}");
    let any = details.iter().find(|any| any.type_url == url)?;
    M::decode(any.value.as_slice()).ok()
}
