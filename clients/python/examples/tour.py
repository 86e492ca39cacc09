"""A tour of the client: `python tour.py localhost:8001`, with --ca and --token where they are needed.

The exit status is 0 where all came out as it should.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import sensorium
from sensorium.errors import InvalidInput, SensoriumError
from sensorium.v1.content_pb2 import Content

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STREAMED = 1000


def main() -> None:
    """Reads the command line and walks through it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--token")
    parser.add_argument("--inputs", type=Path, default=Path("clients/conformance/inputs"))
    given = parser.parse_args()
    # A deadline for every call, TLS where there is a `ca`, and the token as `authorization: Bearer`.
    with sensorium.Client(given.address, timeout_s=10, ca=given.ca, token=given.token) as client:
        picture, sound = sensorium.image(given.inputs / "three.png"), sensorium.audio(given.inputs / "three.wav")
        embed(client, [sensorium.text("three"), picture, sound])
        classify(client, [picture, sound])
        stream(client)
        bad_item(client, picture)
        refusal(client)


def embed(client: sensorium.Client, contents: list[Content]) -> None:
    """Embeds a text, a picture and a sound in one call, under a request id that the mesh's logs have too."""
    answer = client.embed(contents, request_id="tour-1")
    answer.raise_for_errors()
    print(f"embedded {len(answer.vectors)} contents into {answer.space}, {answer.vectors.shape[1]} numbers each")


def classify(client: sensorium.Client, contents: list[Content]) -> None:
    """Asks which digit a picture shows and a sound says."""
    found = [ranking[0].name for ranking in client.classify(contents, DIGITS, top_k=1).rankings if ranking]
    print(f"the picture shows {found[0]}, the sound says {found[1]}")
    assert found == ["three", "three"]


def stream(client: sensorium.Client) -> None:
    """Sends many texts; no more are taken from the generator than the mesh works on."""

    def texts() -> Iterator[tuple[str, Content]]:
        for number in range(STREAMED):
            yield f"text {number}", sensorium.text(f"number {number}")

    answers = dict(client.embed_stream(texts(), timeout_s=60))
    print(f"streamed {STREAMED} texts, {len(answers)} answers came back")
    assert len(answers) == STREAMED


def bad_item(client: sensorium.Client, picture: Content) -> None:
    """Sends a picture that is none beside a good one: the good one has its vector, the bad one its error."""
    answer = client.embed([sensorium.image(b"no picture"), picture])
    error = answer.errors[0]
    print(f"item 0 failed with {error.reason} at {error.field}: {error.problem}")
    assert [*answer.errors] == [0]


def refusal(client: sensorium.Client) -> None:
    """Sends what is refused as a whole, and reads the details; `retry_after_s` is set where another try helps."""
    try:
        client.embed([])
    except InvalidInput as error:
        print(f"refused with {error.reason} at {error.field}: {error.problem}; try again after {retry_delay_s(error)}")
    else:
        raise AssertionError("an empty request was not refused")


def retry_delay_s(error: SensoriumError) -> float | None:
    """Returns the seconds to wait before another try; None where that would not help."""
    return error.retry_after_s


if __name__ == "__main__":
    main()
