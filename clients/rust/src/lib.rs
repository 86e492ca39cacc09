//! What to copy into your program: the channel, a deadline that holds, and the details of errors.

use std::{error::Error, future::Future, path::Path, time::Duration};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{interceptor::InterceptedService, Interceptor};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};

mod failure;
pub use failure::Failure;

/// The generated code; the modules must lie as the packages of the protos do.
pub mod sensorium {
    pub mod v1 {
        tonic::include_proto!("sensorium.v1");
    }
}
pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
pub use sensorium::v1;

/// Sensorium's limit; tonic takes in 4 MiB unless told otherwise.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

pub type Stub = v1::orchestrator_service_client::OrchestratorServiceClient<InterceptedService<Channel, Bearer>>;

/// Sends a token, where there is one, with every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Opens a channel; a clone of the stub shares it. It connects at the first call, and must be called within a runtime.
///
/// `ca` is a PEM file with the authority of the server's certificate; `None` speaks plain text. `token` goes with every
/// call; without `ca` it is refused, since it would travel in the open.
pub fn connect(address: &str, ca: Option<&Path>, token: Option<&str>) -> Result<Stub, Box<dyn Error>> {
    let channel = match ca {
        Some(ca) => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
            Channel::from_shared(format!("https://{address}"))?
                .tls_config(tls)?
                .connect_lazy()
        }
        None if token.is_some() => return Err("a token needs TLS: give ca too".into()),
        None => Channel::from_shared(format!("http://{address}"))?.connect_lazy(),
    };
    let bearer = match token {
        Some(token) => {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
            value.set_sensitive(true);
            Bearer(Some(value))
        }
        None => Bearer(None),
    };
    let stub = Stub::new(InterceptedService::new(channel, bearer));
    Ok(stub
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

/// Returns a request that tells the server how long it has. Await the call within `within`.
pub fn request<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

/// Awaits a call, and the reading of its answers, no longer than `limit`.
///
/// tonic by itself watches a deadline only until the answer begins, and then reports CANCELLED.
pub async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let started = tokio::time::Instant::now();
    match tokio::time::timeout(limit, call).await {
        Ok(Err(status)) if status.code() == Code::Cancelled && started.elapsed() >= limit => Err(expired()),
        Ok(result) => result,
        Err(_) => Err(expired()),
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline passed")
}
