#!/bin/sh
# Generates Go code of Sensorium's API: generate.sh PROTOS OUT [PACKAGE]
# PACKAGE is the import path of the generated package, which goes to OUT itself. google.rpc is not generated: Go has it as
# google.golang.org/genproto/googleapis/rpc.
set -eu
protos=${1:?usage: generate.sh PROTOS OUT [PACKAGE]} out=${2:?usage: generate.sh PROTOS OUT [PACKAGE]}
package=${3:-example.com/sensorium/sensoriumv1}
mkdir -p "$out"
set -- "$protos"/sensorium/v1/*.proto
for file; do # the protos name no Go package: that is yours to choose
  name=sensorium/v1/$(basename "$file")
  set -- "$@" "--go_opt=M$name=$package" "--go-grpc_opt=M$name=$package"
done
protoc -I "$protos" --go_out="$out" --go_opt="module=$package" --go-grpc_out="$out" --go-grpc_opt="module=$package" "$@"
