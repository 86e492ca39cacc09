"""Writes docs/contract.md from the comments of the protos, so that a client's author can read them without the protos.

python protos/contract.py            writes the page
python protos/contract.py --check    exits with 1 where the page is not what the protos say
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PROTOS = Path(__file__).resolve().parent
PAGE = PROTOS.parent / "docs" / "contract.md"

# What most callers read comes first.
_ORDER = ("orchestrator", "content", "embedding", "model", "text", "vision", "audio", "fusion", "error_reason")
_INTRO = """\
# The contract

Generated from the comments of `protos/sensorium/v1` by `make contract`; edit those. What may change, and what never
will, is in [versioning.md](versioning.md); clients in other languages are in [../clients](../clients/README.md).

"""

# Numbers of fields in descriptor.proto, of which the paths to comments are made.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_ONEOF, _ENUM_VALUE, _SERVICE_METHOD = 2, 8, 2, 2
_MESSAGE_MESSAGE, _MESSAGE_ENUM = 3, 4

Comments = Mapping[tuple[int, ...], str]


def described(protos: Path = PROTOS) -> FileDescriptorSet:
    """Returns the files of the contract with their comments, without what they import.

    Raises:
        RuntimeError: protoc refused a proto; its own message is on stderr.
    """
    import google.rpc
    from grpc_tools import protoc

    includes = [protos, resources.files("grpc_tools") / "_proto", *(Path(f).parent.parent for f in google.rpc.__path__)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract.binpb"
        status = protoc.main(
            [
                "protoc",
                *(f"-I{path}" for path in includes),
                "--include_source_info",
                f"--descriptor_set_out={out}",
                *(str(path) for path in sorted((protos / "sensorium" / "v1").glob("*.proto"))),
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc ended with status {status}; its message is above")
        return FileDescriptorSet.FromString(out.read_bytes())


def page(files: FileDescriptorSet) -> str:
    """Returns the page, in Markdown."""
    stems = {Path(file.name).stem: file for file in files.file}
    if unknown := {*stems} - {*_ORDER}:
        raise RuntimeError(f"protos/contract.py: say in _ORDER where {sorted(unknown)} belong")
    ordered = [stems[name] for name in _ORDER if name in stems]
    contents = "".join(f"- `{file.name}`: {', '.join(_link(name) for name in _names(file))}\n" for file in ordered)
    return _INTRO + contents + "".join(_file(file) for file in ordered)


def _names(file: FileDescriptorProto) -> list[str]:
    parts = (file.service, file.message_type, file.enum_type)
    return [each.name for kind in parts for each in kind]


def _file(file: FileDescriptorProto) -> str:
    comments = {tuple(each.path): _prose(each.leading_comments) for each in file.source_code_info.location}
    parts = [f"\n## {file.name}\n"]
    parts += [_service(each, (_FILE_SERVICE, at), comments) for at, each in enumerate(file.service)]
    parts += [_message(each, (_FILE_MESSAGE, at), comments) for at, each in enumerate(file.message_type)]
    parts += [_enum(each, (_FILE_ENUM, at), comments) for at, each in enumerate(file.enum_type)]
    return "".join(parts)


def _service(service: ServiceDescriptorProto, path: tuple[int, ...], comments: Comments) -> str:
    lines = [f"\n### {service.name}\n\n{comments.get(path, '')}\n\n"]
    for at, rpc in enumerate(service.method):
        sent = ("stream " * rpc.client_streaming) + _link(rpc.input_type)
        answered = ("stream " * rpc.server_streaming) + _link(rpc.output_type)
        lines.append(f"- **{rpc.name}**({sent}) → {answered}: {comments.get((*path, _SERVICE_METHOD, at), '')}\n")
    return "".join(lines)


def _message(message: DescriptorProto, path: tuple[int, ...], comments: Comments, within: str = "") -> str:
    name = within + message.name
    parts = [f"\n### {name}\n\n{comments.get(path, '')}\n"]
    if message.field:
        parts.append("\n| field | number | type | |\n|---|---|---|---|\n")
        parts += [
            f"| `{field.name}` | {field.number} | {_type(field, message)} | "
            f"{_cell(comments.get((*path, _MESSAGE_FIELD, at), ''))} |\n"
            for at, field in enumerate(message.field)
        ]
    for at, oneof in enumerate(message.oneof_decl):
        if said := comments.get((*path, _MESSAGE_ONEOF, at)):
            parts.append(f"\nOne of `{oneof.name}`: {said}\n")
    nested = enumerate(message.nested_type)
    parts += [
        _message(each, (*path, _MESSAGE_MESSAGE, at), comments, f"{name}.")
        for at, each in nested
        if not each.options.map_entry
    ]
    parts += [
        _enum(each, (*path, _MESSAGE_ENUM, at), comments, f"{name}.") for at, each in enumerate(message.enum_type)
    ]
    return "".join(parts)


def _enum(enum: EnumDescriptorProto, path: tuple[int, ...], comments: Comments, within: str = "") -> str:
    rows = "".join(
        f"| `{value.name}` | {value.number} | {_cell(comments.get((*path, _ENUM_VALUE, at), ''))} |\n"
        for at, value in enumerate(enum.value)
    )
    return f"\n### {within}{enum.name}\n\n{comments.get(path, '')}\n\n| value | number | |\n|---|---|---|\n{rows}"


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """Returns a field's type as the proto writes it, with a link where it is one of ours."""
    if entry := next((each for each in message.nested_type if _is_entry(each, field)), None):
        return f"map of {_type(entry.field[0], entry)} to {_type(entry.field[1], entry)}"
    name = _link(field.type_name) if field.type_name else _scalar(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    if field.HasField("oneof_index"):
        return f"{name}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return name


def _is_entry(nested: DescriptorProto, field: FieldDescriptorProto) -> bool:
    return nested.options.map_entry and field.type_name.endswith(f".{nested.name}")


def _scalar(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str) -> str:
    """Returns a name of the contract as a link to its heading; others, such as google.rpc.Status, as they are."""
    name = type_name.removeprefix(".").removeprefix("sensorium.v1.")
    if name.startswith("google."):
        return f"`{name}`"
    return f"[{name}](#{re.sub('[^a-z0-9_-]', '', name.lower())})"


def _prose(comment: str) -> str:
    """Returns a comment as paragraphs; lists and examples in it, which are indented, keep their lines."""
    lines = [line.removeprefix(" ").rstrip() for line in comment.strip("\n").split("\n")]
    return "\n".join(_unwrapped(lines)).strip()


def _unwrapped(lines: Sequence[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line and not line.startswith((" ", "-", "{", "}")):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph = []
        yield line


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", "<br>", text.strip()).replace("|", "\\|")


def main() -> int:
    """Reads the arguments, writes or checks the page, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python protos/contract.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is stale")
    text = page(described())
    if not parser.parse_args().check:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    print("docs/contract.md is not what the protos say; run `make contract`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
