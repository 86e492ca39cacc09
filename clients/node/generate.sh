#!/bin/sh
# Generates TypeScript of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
# It takes @bufbuild/buf and ts-proto from the node_modules of the folder it is run in; where they are not there, it fetches
# them for this once.
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
here=$(cd "$(dirname "$0")" && pwd)
tools=$PWD
if ! [ -x node_modules/.bin/buf ] || ! [ -d node_modules/ts-proto ]; then
  tools=$(mktemp -d)
  trap 'rm -rf "$tools"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$tools"
  (cd "$tools" && npm ci --ignore-scripts --no-audit --no-fund >&2)
fi

# unions-value: a oneof is a union that the compiler can tell apart. importSuffix: as ES modules want it. static-only: the
# types know their protobuf names ($type), by which failure.ts finds error details; the messages do not carry them.
options='["outputServices=grpc-js", "oneof=unions-value", "esModuleInterop=true", "importSuffix=.js", "env=node",
  "forceLong=number", "useExactTypes=false", "outputTypeAnnotations=static-only"]'
"$tools/node_modules/.bin/buf" generate "$protos" --template "{\"version\": \"v2\", \"plugins\": [{
  \"local\": [\"node\", \"$tools/node_modules/ts-proto/protoc-gen-ts_proto\"], \"out\": \"$out\", \"opt\": $options}]}"
