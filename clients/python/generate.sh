#!/usr/bin/env bash
# Generates plain stubs for those who would rather not use the SDK, which brings its own; needs pip install grpcio-tools.
#   clients/python/generate.sh PROTOS OUT
set -euo pipefail
protos=${1:?usage: clients/python/generate.sh PROTOS OUT} out=${2:?usage: clients/python/generate.sh PROTOS OUT}
mkdir -p "$out"
"${PYTHON:-python3}" -m grpc_tools.protoc -I "$protos" --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
  "$protos"/sensorium/v1/*.proto
