#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where a tool is missing.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(dirname "$0")
for need in g++ pkg-config protoc grpc_cpp_plugin; do
  command -v "$need" > /dev/null && continue
  echo "cpp: no $need; install with: apt-get install $(sed 's/#.*//' "$here/apt.txt" | xargs)" >&2
  exit 77
done
if ! pkg-config --exists grpc++ protobuf || ! echo '#include <nlohmann/json.hpp>' | g++ -E -x c++ - > /dev/null 2>&1; then
  echo "cpp: no headers of grpc++, protobuf or nlohmann-json; install with: apt-get install $(sed 's/#.*//' "$here/apt.txt" | xargs)" >&2
  exit 77
fi

mkdir -p "$out/objects"
sh "$here/generate.sh" "$protos" "$out/generated"

compile() { # SOURCE OBJECT
  g++ -std=c++17 -O1 -Wall -Wextra -pthread -I "$out/generated" -I "$here" $(pkg-config --cflags grpc++ protobuf) -c "$1" -o "$out/objects/$2.o"
}
# A caller of the orchestrator needs no stubs of the other services, only their messages.
for name in sensorium/v1/audio sensorium/v1/content sensorium/v1/embedding sensorium/v1/fusion sensorium/v1/model \
  sensorium/v1/orchestrator sensorium/v1/text google/rpc/status google/rpc/error_details; do
  compile "$out/generated/$name.pb.cc" "$(basename "$name").pb"
done
compile "$out/generated/sensorium/v1/orchestrator.grpc.pb.cc" orchestrator.grpc.pb
for name in sensorium first tour driver; do
  compile "$here/$name.cpp" "$name"
done

link() { # PROGRAM OBJECT...
  program=$1
  shift
  g++ -pthread "$out/objects/$program.o" "$@" "$out"/objects/*.pb.o -o "$out/$program" $(pkg-config --libs grpc++ protobuf)
}
link first
link tour "$out/objects/sensorium.o"
link driver "$out/objects/sensorium.o"
