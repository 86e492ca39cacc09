//! The conformance driver: JSON cases on stdin, JSON answers on stdout, one a line, in order.
//! Usage: driver ADDRESS [--ca PEM] [--token TOKEN]

use std::{error::Error, path::Path, time::Duration};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use sensorium_client::{connect, request, v1, within, Stub};
use serde_json::{json, Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::metadata::{KeyAndValueRef, MetadataKey, MetadataMap};
use tonic::{Code, Request, Status};

type Fallible<T> = Result<T, Box<dyn Error>>;

const SERVICE: &str = "sensorium.v1.OrchestratorService/";
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What came of a call so far; all of it is kept when the call fails.
#[derive(Default)]
struct Answer {
    responses: Vec<Value>,
    metadata: Map<String, Value>,
}

struct Driver {
    stub: Stub,
    token: String,
    contract: DescriptorPool, // for JSON, which prost knows nothing of
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        words
            .iter()
            .position(|word| word == name)
            .and_then(|at| words.get(at + 1))
            .map(String::as_str)
    };
    let address = words
        .first()
        .ok_or("usage: driver ADDRESS [--ca PEM] [--token TOKEN]")?;
    let contract = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));
    let mut driver = Driver {
        // The token is not the channel's: a case may have another.
        stub: connect(address, option("--ca").map(Path::new), None)?,
        token: option("--token").unwrap_or_default().to_owned(),
        contract: DescriptorPool::decode(contract.as_ref())?,
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let case: Value = serde_json::from_str(&line).unwrap_or_default();
        let mut said = driver
            .run(&case)
            .await
            .unwrap_or_else(|fault| json!({"status": "UNKNOWN", "message": format!("driver: {fault}")}));
        said["case"] = case["case"].clone();
        println!("{said}"); // stdout flushes at the end of each line
    }
    Ok(())
}

/// Makes a unary call and writes its answer down; yields the status that it ended with.
macro_rules! unary {
    ($driver:ident, $case:ident, $answer:ident, $method:ident, $asked:ident, $answered:literal) => {{
        let message: v1::$asked = $driver.read(concat!("sensorium.v1.", stringify!($asked)), &$case["requests"][0])?;
        let limit = limit(&$case);
        let request = $driver.request($case, message)?;
        match within(limit, $driver.stub.$method(request)).await {
            Ok(response) => {
                add_metadata(response.metadata(), &mut $answer.metadata);
                $answer
                    .responses
                    .push($driver.write(concat!("sensorium.v1.", $answered), response.get_ref())?);
                Ok(())
            }
            Err(status) => Err(status),
        }
    }};
}

impl Driver {
    /// Makes the call of a case. An error means that the case could not be sent, or its answer not be written as JSON.
    async fn run(&mut self, case: &Value) -> Fallible<Value> {
        let mut answer = Answer::default();
        let method = case["method"]
            .as_str()
            .and_then(|name| name.strip_prefix(SERVICE))
            .unwrap_or_default();
        let ended = match method {
            "Embed" => unary!(self, case, answer, embed, EmbedRequest, "EmbedResponse"),
            "EmbedWindows" => unary!(
                self,
                case,
                answer,
                embed_windows,
                EmbedWindowsRequest,
                "EmbedWindowsResponse"
            ),
            "Compare" => unary!(self, case, answer, compare, CompareRequest, "CompareResponse"),
            "Classify" => unary!(self, case, answer, classify, ClassifyRequest, "ClassifyResponse"),
            "Fuse" => unary!(self, case, answer, fuse, FuseRequest, "FuseResponse"),
            "Predict" => unary!(
                self,
                case,
                answer,
                predict,
                OrchestratorServicePredictRequest,
                "OrchestratorServicePredictResponse"
            ),
            "Project" => unary!(
                self,
                case,
                answer,
                project,
                OrchestratorServiceProjectRequest,
                "OrchestratorServiceProjectResponse"
            ),
            "Tokenize" => unary!(
                self,
                case,
                answer,
                tokenize,
                OrchestratorServiceTokenizeRequest,
                "OrchestratorServiceTokenizeResponse"
            ),
            "Describe" => unary!(self, case, answer, describe, DescribeRequest, "DescribeResponse"),
            "EmbedStream" => self.stream(case, &mut answer).await?,
            _ => return Err(format!("no such method: {}", case["method"]).into()),
        };
        let status = ended.err().unwrap_or_else(|| Status::new(Code::Ok, ""));
        add_metadata(status.metadata(), &mut answer.metadata);
        Ok(json!({
            "status": NAMES[status.code() as usize],
            "message": status.message(),
            "responses": answer.responses,
            "details": self.details(&status),
            "metadata": answer.metadata,
        }))
    }

    async fn stream(&mut self, case: &Value, answer: &mut Answer) -> Fallible<Result<(), Status>> {
        let mut requests: Vec<v1::EmbedStreamRequest> = Vec::new();
        for each in case["requests"].as_array().into_iter().flatten() {
            requests.push(self.read("sensorium.v1.EmbedStreamRequest", each)?);
        }
        let wanted = case["cancel_after"].as_u64().map_or(usize::MAX, |count| count as usize);
        let request = self.request(case, tokio_stream::iter(requests))?;
        let mut received: Vec<v1::EmbedStreamResponse> = Vec::new();
        let ended = within(limit(case), async {
            let response = self.stub.embed_stream(request).await?;
            add_metadata(response.metadata(), &mut answer.metadata);
            let mut answers = response.into_inner();
            while let Some(each) = answers.message().await? {
                received.push(each);
                if received.len() >= wanted {
                    return Err(Status::cancelled("cancelled by the case")); // to drop a stream is to cancel it
                }
            }
            if let Some(trailers) = answers.trailers().await? {
                add_metadata(&trailers, &mut answer.metadata);
            }
            Ok(())
        })
        .await;
        for each in &received {
            answer
                .responses
                .push(self.write("sensorium.v1.EmbedStreamResponse", each)?);
        }
        Ok(ended)
    }

    fn request<T>(&self, case: &Value, message: T) -> Fallible<Request<T>> {
        let mut request = request(message, limit(case));
        for (key, value) in case["metadata"].as_object().into_iter().flatten() {
            let key = MetadataKey::from_bytes(key.as_bytes())?;
            request
                .metadata_mut()
                .insert(key, value.as_str().unwrap_or_default().parse()?);
        }
        let token = case["token"].as_str().unwrap_or(&self.token);
        if !token.is_empty() {
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {token}").parse()?);
        }
        Ok(request)
    }

    fn read<M: Message + Default>(&self, name: &str, value: &Value) -> Fallible<M> {
        let kind = self
            .contract
            .get_message_by_name(name)
            .ok_or("a message without a description")?;
        Ok(M::decode(
            DynamicMessage::deserialize(kind, value)?.encode_to_vec().as_slice(),
        )?)
    }

    fn write<M: Message>(&self, name: &str, message: &M) -> Fallible<Value> {
        let kind = self
            .contract
            .get_message_by_name(name)
            .ok_or("a message without a description")?;
        Ok(serde_json::to_value(DynamicMessage::decode(
            kind,
            message.encode_to_vec().as_slice(),
        )?)?)
    }

    /// Returns the details that this driver knows the types of.
    fn details(&self, status: &Status) -> Vec<Value> {
        let decoded = sensorium_client::google::rpc::Status::decode(status.details()).unwrap_or_default();
        decoded
            .details
            .iter()
            .filter_map(|detail| self.write("google.protobuf.Any", detail).ok())
            .collect()
    }
}

fn limit(case: &Value) -> Duration {
    Duration::from_millis(case["deadline_ms"].as_u64().unwrap_or(10_000))
}

fn add_metadata(received: &MetadataMap, metadata: &mut Map<String, Value>) {
    for entry in received.iter() {
        if let KeyAndValueRef::Ascii(key, value) = entry {
            metadata.insert(key.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
}
