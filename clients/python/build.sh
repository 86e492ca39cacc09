#!/usr/bin/env bash
# Makes OUT/first, OUT/tour and OUT/driver, which run the examples with PYTHON, else with the .venv of this checkout.
#   clients/python/build.sh PROTOS OUT
# PROTOS is not read: the SDK brings its stubs.
set -euo pipefail
out=${2:?usage: clients/python/build.sh PROTOS OUT}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../../.venv/bin/python}
if ! "$python" -c 'import sensorium.v1.orchestrator_pb2' 2> /dev/null; then
  echo >&2 "python: the SDK is not installed for $python; install it with: pip install --editable ."
  exit 77
fi
mkdir -p "$out"
for name in first tour driver; do
  printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$python" "$here/examples/$name.py" > "$out/$name"
  chmod +x "$out/$name"
done
