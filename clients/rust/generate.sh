#!/bin/sh
# Generates Rust code of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
# It is what build.rs does in every build; the files are only for reading, or for a program without a build.rs.
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
SENSORIUM_PROTOS=$(cd "$protos" && pwd)
export SENSORIUM_PROTOS
cp -r "$here/Cargo.toml" "$here/build.rs" "$here/src" "$out/" # cargo writes a lock file beside Cargo.toml
cargo check --quiet --lib --manifest-path "$out/Cargo.toml" --target-dir "$out/target"
cp "$out"/target/debug/build/sensorium-client-*/out/*.rs "$out/"
