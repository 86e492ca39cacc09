#!/usr/bin/env bash
# Writes the lock files: what each image installs, to the last package, with the hash of every file that may be taken.
# `make lock` runs it with uv in PATH. They hold for Python 3.11 to 3.13 and every platform; the images use 3.12 on Linux.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock() { # name, then what is locked
  local name=$1
  shift
  timeout 300 uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
    --custom-compile-command "make lock" --overrides "$overrides" --output-file "requirements/$name.txt" "$@"
}

# tokenizers asks for huggingface-hub to download tokenizers by name. A service loads its files from a package that it
# has, and is better off without 30 MB of HTTP clients.
overrides=$(mktemp)
trap 'rm "$overrides"' EXIT
echo "huggingface-hub; python_version < '3'" > "$overrides"

lock tools requirements/tools.in
# What builds our own package.
lock build <(python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
for service in text vision audio fusion orchestrator; do
  lock "$service" pyproject.toml --extra "$service"
done
# onnxruntime-openvino brings the same module as onnxruntime, which must not lie beside it.
echo "onnxruntime; python_version < '3'" >> "$overrides"
for service in text vision audio; do
  lock "$service-openvino" pyproject.toml --extra "$service" --extra openvino
done
