#!/bin/sh
# Generates Java code of Sensorium's API, and of google.rpc for its errors: generate.sh PROTOS OUT
set -eu
protos=${1:?usage: generate.sh PROTOS OUT} out=${2:?usage: generate.sh PROTOS OUT}
mkdir -p "$out"
set -- "$protos"/google/rpc/*.proto
for file in "$protos"/sensorium/v1/*.proto; do
  # protoc names a class after each file. That of audio.proto would be Audio, which is a message of content.proto: without
  # a name of its own for the class, the file, which only callers of the audio encoder itself need, is left out.
  case $file in */audio.proto) grep -q java_outer_classname "$file" || continue ;; esac
  set -- "$@" "$file"
done
protoc -I "$protos" --java_out="$out" --grpc-java_out="$out" --plugin=protoc-gen-grpc-java="$(command -v grpc_java_plugin)" "$@"
