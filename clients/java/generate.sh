#!/bin/sh
# Generates Java code of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
mkdir -p "$out"
protoc -I "$protos" --java_out="$out" --grpc-java_out="$out" --plugin=protoc-gen-grpc-java="$(command -v grpc_java_plugin)" \
  "$protos"/google/rpc/*.proto "$protos"/sensorium/v1/*.proto
