#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where a tool is missing. It takes Debian's packages; with gems, see README.md.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(dirname "$0")
missing() {
  echo "ruby: no $1; install with: apt-get install $(sed 's/#.*//' "$here/apt.txt" | xargs)" >&2
  exit 77
}
for need in ruby grpc_tools_ruby_protoc; do
  command -v "$need" > /dev/null || missing "$need"
done
for need in grpc google/rpc/error_details_pb; do
  ruby -e "require '$need'" 2> /dev/null || missing "$need"
done

mkdir -p "$out/lib"
out=$(cd "$out" && pwd)
sh "$here/generate.sh" "$protos" "$out/lib"
cp "$here"/*.rb "$out/lib"
for program in first tour driver; do
  printf '#!/bin/sh\nexec ruby -I "%s/lib" "%s/lib/%s.rb" "$@"\n' "$out" "$out" "$program" > "$out/$program"
  chmod +x "$out/$program"
done
