#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where a tool is missing. It takes Debian's packages of Go sources, without modules; with modules, see README.md.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(cd "$(dirname "$0")" && pwd)
debian=/usr/share/gocode
missing() {
  echo "go: no $1; install with: apt-get install $(sed 's/#.*//' "$here/apt.txt" | xargs)" >&2
  exit 77
}
for need in go protoc protoc-gen-go protoc-gen-go-grpc; do
  command -v "$need" > /dev/null || missing "$need"
done
for need in grpc protobuf genproto/googleapis/rpc; do
  test -d "$debian/src/google.golang.org/$need" || missing "$debian/src/google.golang.org/$need"
done

mkdir -p "$out"
out=$(cd "$out" && pwd)
protos=$(cd "$protos" && pwd)
root=$out/gopath/src/example.com/sensorium
rm -rf "$root"
mkdir -p "$root"
cp -r "$here"/client "$here"/first "$here"/tour "$here"/driver "$root/"
sh "$here/generate.sh" "$protos" "$root/sensoriumv1"

export GO111MODULE=off GOTOOLCHAIN=local GOENV=off GOFLAGS= CGO_ENABLED=0
export GOPATH="$out/gopath:$debian" GOCACHE="$out/cache"
cd "$root"
go vet ./client ./first ./tour ./driver
go build -o "$out/" ./first ./tour ./driver
