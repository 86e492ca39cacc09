#!/bin/sh
# Generates Ruby code of Sensorium's API: generate.sh PROTOS OUT
# That of google.rpc is not generated: grpc brings it along (googleapis-common-protos-types), and it can be loaded only once.
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
mkdir -p "$out"
grpc_tools_ruby_protoc -I "$protos" --ruby_out="$out" --grpc_out="$out" "$protos"/sensorium/v1/*.proto
