#!/bin/sh
# Generates C++ code of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
mkdir -p "$out"
protoc -I "$protos" --cpp_out="$out" --grpc_out="$out" --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" \
  "$protos"/sensorium/v1/*.proto "$protos"/google/rpc/*.proto
