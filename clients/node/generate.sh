#!/bin/sh
# Generates TypeScript of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
# Run it in a folder where npm has installed @bufbuild/buf and ts-proto (see package.json): it takes them from there.
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
# unions-value: a oneof is a union that the compiler can tell apart. importSuffix: as ES modules want it. static-only: the
# types know their protobuf names ($type), by which failure.ts finds error details; the messages do not carry them.
options='["outputServices=grpc-js", "oneof=unions-value", "esModuleInterop=true", "importSuffix=.js", "env=node",
  "forceLong=number", "useExactTypes=false", "outputTypeAnnotations=static-only"]'
node_modules/.bin/buf generate "$protos" --template "{\"version\": \"v2\", \"plugins\": [{
  \"local\": [\"node\", \"node_modules/ts-proto/protoc-gen-ts_proto\"], \"out\": \"$out\", \"opt\": $options}]}"
