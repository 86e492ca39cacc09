#!/bin/sh
# Builds first, tour and driver into a folder: build.sh PROTOS OUT
# Exits with 77 where Node is missing, or the packages cannot be fetched.
set -eu
protos=${1:?usage: build.sh PROTOS OUT} out=${2:?usage: build.sh PROTOS OUT}
here=$(cd "$(dirname "$0")" && pwd)
skip() {
  echo "node: $1" >&2
  exit 77
}
command -v node > /dev/null && command -v npm > /dev/null || skip "no node and npm; install Node 20 or newer from https://nodejs.org"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || skip "Node $(node --version) is too old; install Node 20 or newer from https://nodejs.org"

mkdir -p "$out"
protos=$(cd "$protos" && pwd) out=$(cd "$out" && pwd)
rm -rf "$out/src" "$out/dist"
cp -R "$here/src" "$here/package.json" "$here/package-lock.json" "$here/tsconfig.json" "$out"
cd "$out"
# No package's install script is needed, so none is run.
if ! npm ci --ignore-scripts --no-audit --no-fund > npm.log 2>&1; then
  cat npm.log >&2
  grep -qE 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH' npm.log \
    && skip "npm cannot reach its registry; set npm_config_registry to one that can be reached"
  exit 1
fi
sh "$here/generate.sh" "$protos" src/generated
node_modules/.bin/tsc

for program in first tour driver; do
  printf '#!/bin/sh\nexec node "%s/dist/%s.js" "$@"\n' "$out" "$program" > "$program"
  chmod +x "$program"
done
