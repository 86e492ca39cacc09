"""Says what is wrong with a driver's answer to a case. Nothing here calls anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clients.conformance.case import Case
from clients.conformance.vectors import embedding_fault, is_near, number, numbers_fault

_TYPE = "type.googleapis.com/google.rpc."
_SHOWN = 120  # characters of a value in a fault


def faults(case: Case, answer: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with an answer, each fault a sentence that starts with its place."""
    expect, found = case.expect, _snake(answer)
    wrong = []
    if found.get("case") != case.name:
        wrong.append(f"case: is {found.get('case')!r}, not {case.name!r}")
    if found.get("status") != expect["status"]:
        said = found.get("message") or "no message"
        return [*wrong, f"status: is {found.get('status')!r} ({said}), not {expect['status']}"]
    wrong += _metadata_faults(expect.get("metadata", {}), answer.get("metadata") or {})
    if expect["status"] != "OK" and "details" in expect:
        wrong += _status_faults(expect["details"], found, "details")
    if "stream" in expect:
        return wrong + _stream_faults(case, found.get("responses") or [])
    responses = found.get("responses") or []
    wanted = 1 if expect["status"] == "OK" else 0
    if len(responses) != wanted:
        return [*wrong, f"responses: are {len(responses)}, not {wanted}"]
    if "response" in expect and responses:
        wrong += _mismatches(expect["response"], responses[0], "response")
    return wrong


def _metadata_faults(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [fault for key, value in wanted.items() for fault in _mismatches(value, found.get(key), f"metadata[{key}]")]


def _stream_faults(case: Case, responses: Sequence[Mapping[str, Any]]) -> list[str]:
    """Judges answers by their ids, in whatever order they came."""
    stream, wrong = case.expect["stream"], []
    places = {str(request["id"]): place for place, request in enumerate(case.requests)}
    ids = [str(each.get("id", "")) for each in responses]
    if "answers" in stream and len(ids) != stream["answers"]:
        wrong.append(f"responses: are {len(ids)}, not {stream['answers']}")
    if len(ids) < stream.get("at_least", 0):
        wrong.append(f"responses: are {len(ids)}, fewer than {stream['at_least']}")
    if len({*ids}) < len(ids):
        wrong.append(f"responses: have {len(ids) - len({*ids})} ids twice")
    if strangers := sorted({*ids} - {*places}):
        return [*wrong, f"responses: have ids that were not sent: {_shown(strangers)}"]
    each = stream["each"]
    for name, response in zip(ids, responses, strict=True):
        wrong += _mismatches(each[places[name] % len(each)], response, f"response {name}")
    return wrong


def _mismatches(wanted: Any, found: Any, at: str) -> list[str]:
    """Returns how a JSON value differs from a template: what the template does not name is not looked at."""
    if isinstance(wanted, dict):
        if matcher := next((key for key in wanted if key.startswith("$")), None):
            rest = {key: value for key, value in wanted.items() if key != matcher}
            return _matched(matcher, wanted[matcher], found, at) + (_mismatches(rest, found, at) if rest else [])
        if not isinstance(found, dict):
            return [f"{at}: is {_shown(found)}, not an object"]
        return [fault for key, value in wanted.items() for fault in _mismatches(value, found.get(key), f"{at}.{key}")]
    if isinstance(wanted, list):
        listed = found if isinstance(found, list) else []
        if len(listed) != len(wanted):
            return [f"{at}: has {len(listed)} entries, not {len(wanted)}"]
        pairs = enumerate(zip(wanted, listed, strict=True))
        return [fault for place, (one, other) in pairs for fault in _mismatches(one, other, f"{at}[{place}]")]
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return [] if is_near(wanted, found or 0) else [f"{at}: is {_shown(found)}, not {wanted}"]
    absent = type(wanted)()  # what protobuf's JSON mapping leaves out: "" and false
    return [] if (found or absent) == wanted else [f"{at}: is {_shown(found)}, not {wanted!r}"]


def _matched(matcher: str, wanted: Any, found: Any, at: str) -> list[str]:
    """Judges by one of the matchers that README.md lists."""
    if matcher == "$fails":
        return _status_faults(wanted, found, at) if isinstance(found, dict) else [f"{at}: there is no error"]
    if matcher == "$vector":
        fault = embedding_fault(wanted, found) if isinstance(found, dict) else "there is no embedding"
        return [f"{at}: {fault}"] * bool(fault)
    if matcher == "$numbers":
        fault = numbers_fault(wanted, found or [])
        return [f"{at}: {fault}"] * bool(fault)
    if matcher == "$number":
        return [] if is_near(wanted[0], found or 0) else [f"{at}: is {_shown(found)}, not {wanted[0]}"]
    if matcher == "$present":
        return [] if bool(found) == wanted else [f"{at}: is {'missing' if wanted else 'there: ' + _shown(found)}"]
    if matcher == "$over":
        return [] if number(found or 0) > wanted else [f"{at}: is {_shown(found)}, not over {wanted}"]
    if matcher == "$any":
        tried = [_mismatches(wanted, each, at) for each in found or []]
        return [] if [] in tried else [f"{at}: none of {len(tried)} is as wanted: {_shown(tried[:1])}"]
    raise ValueError(f"there is no matcher {matcher}")


def _status_faults(wanted: Mapping[str, Any], found: Mapping[str, Any], at: str) -> list[str]:
    """Judges a google.rpc.Status, or the same facts of a failed call.

    wanted: `code`, `field` (of BadRequest), `reason` (of ErrorInfo), `retry` (whether RetryInfo is there); each may be
        left out. A detail that has its type alone is let pass within an item, where some languages cannot say more.
    """
    wrong = []
    if "code" in wanted and found.get("code") != wanted["code"]:
        wrong.append(f"{at}: code is {found.get('code')}, not {wanted['code']}")
    if not found.get("message"):
        wrong.append(f"{at}: there is no message")
    details = {str(each.get("@type", "")): each for each in found.get("details") or []}
    is_item = "code" in wanted
    for kind, key, read in (("BadRequest", "field", _fields), ("ErrorInfo", "reason", _reasons)):
        if key not in wanted:
            continue
        detail = details.get(_TYPE + kind)
        if detail is None:
            wrong.append(f"{at}: has no {kind}")
        elif not (is_item and {*detail} == {"@type"}) and wanted[key] not in [*read(detail)]:
            wrong.append(f"{at}: {kind} is {_shown([*read(detail)])}, without {wanted[key]!r}")
    if "retry" in wanted and (_TYPE + "RetryInfo" in details) != wanted["retry"]:
        wrong.append(f"{at}: RetryInfo is {'missing' if wanted['retry'] else 'there'}")
    return wrong


def _fields(detail: Mapping[str, Any]) -> Iterator[str]:
    for violation in detail.get("field_violations") or []:
        if violation.get("description"):  # both parts must have been read
            yield violation.get("field", "")


def _reasons(detail: Mapping[str, Any]) -> Iterator[str]:
    if detail.get("domain") == "sensorium":
        yield detail.get("reason", "")


def _snake(value: Any) -> Any:
    """Returns a JSON value with its keys in snake_case, whichever of the two protobuf's JSON mapping gave."""
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if isinstance(value, dict):
        return {re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower(): _snake(each) for key, each in value.items()}
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
