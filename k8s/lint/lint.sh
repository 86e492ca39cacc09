#!/usr/bin/env bash
# Renders every overlay into a folder and holds it to Kubernetes' schemas and to checkov's policies; `make lint-k8s` runs it
# with the tools in PATH. Custom resources (cert-manager, Prometheus operator) have no schema there: a warning says so.
set -euo pipefail
rendered=$(realpath -m "${1:-build/k8s}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rm -rf "$rendered"
mkdir -p "$rendered"/{cluster,podman}
for overlay in overlays/*; do
  name=${overlay#overlays/}
  folder=$rendered/cluster
  if [ "$name" = play ]; then folder=$rendered/podman; fi
  kubectl kustomize "$overlay" > "$folder/$name.yaml"
  kubernetes-validate --strict --quiet --kubernetes-version 1.32.0 "$folder/$name.yaml" | sort -u
done

check() { timeout 300 checkov --framework kubernetes --skip-download --compact --quiet --config-file "$1" --directory "$2"; }
check lint/checkov.yaml "$rendered/cluster"
check lint/checkov-play.yaml "$rendered/podman"
echo "every overlay renders, fits the schemas of Kubernetes 1.32 and passes checkov"
