"""Writes what the demo saw as one page that needs nothing else: pictures, sounds, style and script are inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib import resources

from sensorium.cli.demo.blocks import Media, block, heat_map
from sensorium.cli.demo.markup import Html, data_uri, join, tag
from sensorium.cli.demo.results import Call, Ranking, Step, Tour
from sensorium.cli.demo.samples import Thing
from sensorium.v1.content_pb2 import Modality
from sensorium.v1.embedding_pb2 import Receipt
from sensorium.v1.model_pb2 import ModelTask
from sensorium.v1.orchestrator_pb2 import DescribeResponse, ServiceState

# Plays a sample where its thumbnail is clicked; without it the thumbnails lead to the players.
_SCRIPT = """
document.addEventListener("click", event => {
  const button = event.target.closest("[data-plays]");
  const player = button && document.getElementById(button.dataset.plays);
  if (!player) return;
  event.preventDefault();
  document.querySelectorAll("audio").forEach(other => other !== player && other.pause());
  player.currentTime = 0;
  player.play();
});
"""
_CLAIM = (
    "Five small services, one for text, one for pictures, one for sound, one that fuses and one that composes, were "
    "started on one machine and asked the questions below. What you see is what the models said, right or wrong. "
    "A ✓ marks what the captions of the samples say; the captions are never sent along."
)


def render(tour: Tour, mesh: DescribeResponse, made_at: datetime) -> str:
    """Returns the page as HTML."""
    media = Media(tour.samples)
    calls = [call for step in tour.steps for call in step.calls] + list(tour.calls)
    body = tag(
        "body",
        _header(tour, mesh, calls),
        tag(
            "main",
            _samples(tour.samples, media),
            [_step(number, step, media) for number, step in enumerate(tour.steps, 1)],
            _matrix(tour, media),
            _receipts(calls),
            _mesh(mesh),
        ),
        tag("footer", f"Made by `sensorium demo` {mesh.version} on {made_at:%d %B %Y at %H:%M}."),
        tag("script", Html(_SCRIPT)),
    )
    return f'<!doctype html>\n<html lang="en">\n{_head().text}\n{body.text}\n</html>\n'


def _head() -> Html:
    css = resources.files("sensorium.cli.demo").joinpath("page.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "Sensorium: what the models said"),
        tag("style", Html(css)),
    )


def _header(tour: Tour, mesh: DescribeResponse, calls: Sequence[Call]) -> Html:
    models = sum(len(service.models) for service in mesh.services)
    kinds = [sample.kind for sample in tour.samples]
    facts = (
        (str(len(mesh.services)), "services"),
        (str(models), "models"),
        *((f"{space.dim}", f"numbers a vector, in the space {space.name}") for space in mesh.spaces[:1]),
        (str(kinds.count("image")), "pictures"),
        (str(kinds.count("audio")), "sounds"),
        (f"{sum(call.wall_ms for call in calls):.0f} ms", f"for {len(calls)} calls"),
    )
    links = [("samples", "Samples"), *((f"step-{i}", step.title) for i, step in enumerate(tour.steps, 1))]
    links += [("matrix", "Everything against everything"), ("receipts", "Receipts"), ("mesh", "The mesh")]
    return tag(
        "header",
        tag("h1", "Text, pictures and sound in one space"),
        tag("p", _CLAIM, class_="lead"),
        tag("ul", [tag("li", tag("b", number), what) for number, what in facts], class_="facts"),
        tag("nav", [tag("a", title, href=f"#{anchor}") for anchor, title in links], aria_label="Sections"),
    )


def _section(anchor: str, title: str, said: str, *inside: Html, number: str = "") -> Html:
    step = tag("span", number, class_="step", aria_hidden="true") if number else ""
    heading = tag("div", step, tag("h2", title), class_="title")
    return tag("section", heading, tag("p", said, class_="said"), *inside, id=anchor)


def _samples(samples: Sequence[Thing], media: Media) -> Html:
    pictures = [
        tag("li", tag("img", src=data_uri(sample.media), alt=f"sample picture: {sample.name}"), sample.name)
        for sample in samples
        if sample.kind == "image"
    ]
    sounds = [tag("li", _player(sample, media), sample.name) for sample in samples if sample.kind == "audio"]
    said = (
        "Drawn, spoken and synthesized by the project's own scripts, in the manner of what the models learned from, so "
        "they are easy; the model cards say how the models fare on real data that was kept apart. The captions are for "
        "you; they are not sent."
    )
    return _section(
        "samples", "The samples", said,
        tag("ul", pictures, class_="samples"), tag("ul", sounds, class_="samples sounds"),
    )  # fmt: skip


def _player(sample: Thing, media: Media) -> Html:
    return tag(
        "audio",
        controls=True,
        preload="metadata",
        src=data_uri(sample.media),
        id=media.player_id(sample),
        aria_label=sample.name,
    )


def _step(number: int, step: Step, media: Media) -> Html:
    panels = sum(isinstance(found, Ranking) for found in step.blocks)
    columns = "blocks four" if panels % 4 == 0 else "blocks"  # four panels stand in one row, others in rows of three
    blocks = tag("div", [block(found, media) for found in step.blocks], class_=columns)
    outcome = tag("p", step.outcome, class_="outcome") if step.outcome else Html("")
    cost = tag("p", "; ".join(_cost(call) for call in step.calls), class_="cost")
    ask = tag(
        "details",
        tag("summary", "Ask this yourself"),
        tag("p", "In a checkout, with ", tag("code", "make up"), " running in another terminal:", class_="key"),
        tag("pre", tag("code", step.shell)),
        tag("pre", tag("code", step.python)),
    )
    return _section(f"step-{number}", step.title, step.explanation, blocks, outcome, cost, ask, number=str(number))


def _cost(call: Call) -> str:
    parts = ", ".join(f"{part.model} {part.total_ns / 1e6:.1f}" for part in call.receipt.parts)
    return f"{call.method}: {call.wall_ms:.1f} ms" + (f" ({parts})" if parts else "")


def _matrix(tour: Tour, media: Media) -> Html:
    said = "The cosine of all samples, from −1 to 1; warm colours are below 0. Click a sound to hear it."
    return _section("matrix", "Everything against everything", said, heat_map(tour.matrix, media))


def _receipts(calls: Sequence[Call]) -> Html:
    titles = ("Call", "Client saw", "Server took", "Preprocessing", "Queue", "Model", "Largest batch", "Cached")
    rows = [row for call in calls for row in _receipt_rows(call)]
    said = (
        "Every answer carries a receipt: which weights answered, and what it cost. Times are milliseconds; "
        "preprocessing is summed over the items, queue and model are the longest that an item saw."
    )
    return _section("receipts", "Receipts", said, _table(titles, rows, numbers_from=1))


def _receipt_rows(call: Call) -> Iterator[Html]:
    yield tag("tr", tag("th", call.method, scope="row"), _numbers(f"{call.wall_ms:.1f}", call.receipt))
    for part in call.receipt.parts:
        title = join(f"{part.model}@{part.version} ", tag("code", part.fingerprint))
        yield tag("tr", tag("th", title, scope="row"), _numbers("", part), class_="part")


def _numbers(wall: str, receipt: Receipt) -> list[Html]:
    times = (receipt.total_ns, receipt.preprocess_ns, receipt.queue_ns, receipt.inference_ns)
    counts = (receipt.batch_size, receipt.cache_hit_count)
    cells = [wall, *(f"{time / 1e6:.2f}" for time in times), *(str(count) for count in counts)]
    return [tag("td", cell, class_="num") for cell in cells]


def _mesh(mesh: DescribeResponse) -> Html:
    titles = ("Service", "State", "Model", "Does", "Space", "Licence", "Fingerprint")
    rows = [tag("tr", cells) for cells in _mesh_rows(mesh)]
    space = "; ".join(
        f"{space.name}, {space.dim} numbers: {', '.join(_modality(m) for m in space.modalities)}"
        for space in mesh.spaces
    )
    said = f"What the orchestrator says of itself and its peers. Spaces: {space or 'none'}."
    return _section("mesh", "The mesh", said, _table(titles, rows))


def _mesh_rows(mesh: DescribeResponse) -> Iterator[list[Html]]:
    for service in mesh.services:
        state = ServiceState.Name(service.state).removeprefix("SERVICE_STATE_").lower().replace("_", " ")
        is_good = service.state == ServiceState.SERVICE_STATE_SERVING
        said = tag("span", state, class_="good" if is_good else "bad", title=service.problem)
        first = [tag("th", service.name, scope="row"), tag("td", said)]
        if not service.models:
            does = "composes the calls" if service.name == "orchestrator" else service.problem
            yield [*first, *(tag("td", cell) for cell in ("", does, "", "", ""))]
        for model in service.models:
            task = ModelTask.Name(model.task).removeprefix("MODEL_TASK_").lower()
            cells = (f"{model.name}@{model.version}", f"{task} {_modality(model.modality)}".strip(), model.space)
            yield [
                *first,
                *(tag("td", cell) for cell in (*cells, model.licence)),
                tag("td", tag("code", model.fingerprint)),
            ]
            first = [tag("td"), tag("td")]


def _table(titles: Sequence[str], rows: Sequence[Html], numbers_from: int = 99) -> Html:
    head = [
        tag("th", title, scope="col", class_="num" if place >= numbers_from else "")
        for place, title in enumerate(titles)
    ]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_="plain")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=titles[0])


def _modality(modality: Modality.ValueType) -> str:
    return Modality.Name(modality).removeprefix("MODALITY_").lower().replace("unspecified", "")
