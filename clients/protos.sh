#!/usr/bin/env bash
# Lays everything that code generators need into one folder: our protos, and the three of google.rpc that they use.
#   clients/protos.sh OUT
# Those of google.rpc come from the Python package googleapis-common-protos, of .venv where it is there, else by pip.
set -euo pipefail
out=${1:?usage: clients/protos.sh OUT}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$out/google/rpc"
cp -R "$root/protos/sensorium" "$out/"

shopt -s nullglob
for folder in "$root"/.venv/lib/python3*/site-packages/google/rpc; do
  cp "$folder"/{status,error_details,code}.proto "$out/google/rpc/"
  exit
done
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
python3 -m pip install --quiet --no-deps --target "$fetched" 'googleapis-common-protos>=1.70'
cp "$fetched"/google/rpc/{status,error_details,code}.proto "$out/google/rpc/"
