#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where a tool is missing, or the crates cannot be fetched.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v cargo > /dev/null; then
  echo "rust: no cargo; install Rust 1.88 or newer with rustup" >&2
  exit 77
fi
if ! command -v protoc > /dev/null; then
  echo "rust: no protoc; install with: apt-get install protobuf-compiler" >&2
  exit 77
fi

mkdir -p "$out/crate"
out=$(cd "$out" && pwd)
SENSORIUM_PROTOS=$(cd "$protos" && pwd)
export SENSORIUM_PROTOS
cp -r "$here/Cargo.toml" "$here/build.rs" "$here/src" "$out/crate/" # cargo writes a lock file beside Cargo.toml
if ! CARGO_NET_RETRY=0 timeout 60 cargo fetch --quiet --manifest-path "$out/crate/Cargo.toml" > "$out/fetch.log" 2>&1; then
  echo "rust: the crates cannot be fetched; it takes a connection to crates.io, or a mirror of it in cargo's configuration" >&2
  exit 77
fi
cargo build --quiet --release --manifest-path "$out/crate/Cargo.toml" --target-dir "$out/target"
for program in first tour driver; do
  ln -sf "$out/target/release/$program" "$out/$program"
done
