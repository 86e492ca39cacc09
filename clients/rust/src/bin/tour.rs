//! A tour of what most callers need. Usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]
//!
//! Exits with 0 only if everything came out as it should.

use std::{collections::HashSet, error::Error, path::Path, time::Duration};

use sensorium_client::v1::{
    audio::Source, classify_result, content::Kind, item_result, Audio, ClassifyRequest, Content, EmbedRequest,
    EmbedStreamRequest, Image, Label,
};
use sensorium_client::{connect, request, within, Failure, Stub};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: Duration = Duration::from_secs(10); // every call has a deadline: without one, the server's default counts
const STREAM_COUNT: usize = 1000;
const REQUEST_ID: &str = "tour-rust-1"; // stands in the server's log; made there where absent

/// What the steps of the tour share.
struct Tour {
    stub: Stub,
    image: Content,
    audio: Content,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
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
        .ok_or("usage: tour ADDRESS [--ca PEM] [--token TOKEN] [--inputs FOLDER]")?;
    let inputs = Path::new(option("--inputs").unwrap_or("."));
    let mut tour = Tour {
        stub: connect(address, option("--ca").map(Path::new), option("--token"))?,
        image: image(std::fs::read(inputs.join("three.png"))?), // whole files; the server knows the format from the bytes
        audio: audio(std::fs::read(inputs.join("three.wav"))?),
    };
    tour.embed().await?;
    tour.classify().await?;
    tour.stream().await?;
    tour.bad_item().await?;
    tour.bad_request().await?;
    println!("all came out as it should");
    Ok(())
}

impl Tour {
    /// Embeds a text, a picture and a sound in one call: three vectors of one space. Shows metadata both ways.
    async fn embed(&mut self) -> Outcome {
        let contents = vec![text("the digit three"), self.image.clone(), self.audio.clone()];
        let mut request = request(
            EmbedRequest {
                contents,
                ..Default::default()
            },
            LIMIT,
        );
        request.metadata_mut().insert("x-request-id", REQUEST_ID.parse()?);
        let response = within(LIMIT, self.stub.embed(request)).await?;
        let echoed = response.metadata().get("x-request-id").map(|id| id.as_bytes().to_vec()); // headers and trailers
        expect(
            echoed.as_deref() == Some(REQUEST_ID.as_bytes()),
            "x-request-id was not echoed",
        )?;
        let response = response.into_inner();
        for item in response.results {
            match item.result {
                Some(item_result::Result::Embedding(vector)) => {
                    println!("embedded: {} numbers of {}", vector.values.len(), vector.space)
                }
                other => return Err(format!("no vector, but {other:?}").into()),
            }
        }
        let took_ms = response.receipt.unwrap_or_default().total_ns as f64 / 1e6;
        println!("request {REQUEST_ID} took {took_ms:.1} ms on the server");
        Ok(())
    }

    /// Classifies the picture and the sound by names alone (zero-shot).
    async fn classify(&mut self) -> Outcome {
        let names = [
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
        ];
        let message = ClassifyRequest {
            contents: vec![self.image.clone(), self.audio.clone()],
            labels: names
                .map(|name| Label {
                    name: name.into(),
                    ..Default::default()
                })
                .to_vec(),
            top_k: 1,
            ..Default::default()
        };
        let response = within(LIMIT, self.stub.classify(request(message, LIMIT)))
            .await?
            .into_inner();
        for result in response.results {
            let Some(classify_result::Result::Ranking(ranking)) = result.result else {
                return Err(format!("no ranking, but {result:?}").into());
            };
            let best = ranking.labels.first().ok_or("an empty ranking")?;
            println!("classified: {} ({:.3})", best.name, best.probability());
            expect(best.name == "three", "three was expected")?;
        }
        Ok(())
    }

    /// Streams many texts; answers may come out of order and are told apart by id.
    async fn stream(&mut self) -> Outcome {
        let limit = Duration::from_secs(60); // of the whole stream
                                             // tonic takes the next one when flow control lets it, on a task of its own; all are never in memory.
        let requests = tokio_stream::iter((0..STREAM_COUNT).map(|i| EmbedStreamRequest {
            id: i.to_string(),
            content: Some(text(&format!("text number {i}"))),
            ..Default::default()
        }));
        let answered = within(limit, async {
            let mut answers = self.stub.embed_stream(request(requests, limit)).await?.into_inner();
            let mut answered = HashSet::new();
            while let Some(answer) = answers.message().await? {
                if let Some(item_result::Result::Embedding(_)) = answer.result.and_then(|item| item.result) {
                    answered.insert(answer.id);
                }
            }
            Ok(answered)
        })
        .await?;
        println!("streamed: {STREAM_COUNT} texts, {} answers", answered.len());
        expect(answered.len() == STREAM_COUNT, "answers are missing")
    }

    /// One bad item fails alone; the call is OK.
    async fn bad_item(&mut self) -> Outcome {
        let message = EmbedRequest {
            contents: vec![text("this one is fine"), image(Vec::new())],
            ..Default::default()
        };
        let response = within(LIMIT, self.stub.embed(request(message, LIMIT)))
            .await?
            .into_inner();
        let results: Vec<_> = response.results.into_iter().map(|item| item.result).collect();
        let [Some(item_result::Result::Embedding(_)), Some(item_result::Result::Error(error))] = results.as_slice()
        else {
            return Err("the second item alone should fail".into());
        };
        println!("a bad item:");
        show(&Failure::from(error), "ERROR_REASON_MEDIA_UNDECODABLE")
    }

    /// A bad request fails as a whole, with the same details.
    async fn bad_request(&mut self) -> Outcome {
        let result = within(LIMIT, self.stub.embed(request(EmbedRequest::default(), LIMIT))).await;
        let status = result.err().ok_or("an empty request should be refused")?;
        println!("a bad request:");
        show(&Failure::from(&status), "ERROR_REASON_EMPTY_REQUEST")
    }
}

/// Says what an error tells a program: the field at fault, the reason, and whether to try again.
fn show(failure: &Failure, expected: &str) -> Outcome {
    println!("  {:?}: {}", failure.code, failure.message);
    for violation in failure.bad_request.iter().flat_map(|bad| &bad.field_violations) {
        println!("  field {}: {}", violation.field, violation.description);
    }
    println!("  reason {}", failure.reason());
    match failure.retry_delay() {
        Some(delay) => println!("  try again in {delay:?}"),
        None => println!("  no use in trying again: no RetryInfo"),
    }
    let is_right =
        failure.code == tonic::Code::InvalidArgument && failure.reason() == expected && failure.bad_request.is_some();
    expect(
        is_right,
        "InvalidArgument with a BadRequest and another reason was expected",
    )
}

fn expect(holds: bool, otherwise: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(otherwise.into())
    }
}

fn text(text: &str) -> Content {
    Content {
        kind: Some(Kind::Text(text.into())),
    }
}

fn image(data: Vec<u8>) -> Content {
    Content {
        kind: Some(Kind::Image(Image { data })),
    }
}

fn audio(data: Vec<u8>) -> Content {
    Content {
        kind: Some(Kind::Audio(Audio {
            source: Some(Source::Data(data)),
        })),
    }
}
