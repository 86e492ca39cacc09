//! The smallest call: embeds one text. Usage: first ADDRESS

use std::time::Duration;

use sensorium_client::v1::orchestrator_service_client::OrchestratorServiceClient;
use sensorium_client::v1::{content::Kind, item_result::Result as Item, Content, EmbedRequest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: first ADDRESS")?;
    let mut stub = OrchestratorServiceClient::connect(format!("http://{address}")).await?;

    let kind = Some(Kind::Text("a small red circle".into()));
    let mut request = tonic::Request::new(EmbedRequest {
        contents: vec![Content { kind }],
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(10));
    let response = stub.embed(request).await?.into_inner();
    // One result a content; each may fail by itself.
    match response.results.into_iter().next().and_then(|item| item.result) {
        Some(Item::Embedding(vector)) => {
            println!(
                "{}, {} numbers: {:.4?} …",
                vector.space,
                vector.values.len(),
                &vector.values[..2]
            );
            Ok(())
        }
        Some(Item::Error(error)) => Err(error.message.into()),
        None => Err("a result that this client cannot read".into()),
    }
}
