#!/usr/bin/env bash
# Builds the five images and runs them for real: alone, as a mesh of containers, and as the pods of k8s/overlays/play.
# Everything after the downloads runs in a network namespace without a way out. python:3.12-slim is replaced by a
# stand-in of the same name: Debian with a Python of this machine's, 3.12 where there is one.
#
# `make test-images` runs it. Needs root and the tools named below; exit code 77 where one is missing.
# WORK=folder keeps downloads and images for the next run; else they are deleted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PATH=$PWD/build/lint-k8s/bin:$PATH:/usr/sbin:/usr/lib/podman # the first is where `make lint-k8s` puts kubectl
for tool in podman buildah runc netavark aardvark-dns mmdebstrap unshare ip iptables kubectl; do
  command -v "$tool" > /dev/null || missing+=" $tool"
done
if [ -n "${missing:-}" ] || [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: no image was built. That needs root, and not found:${missing:- nothing}. On Debian 12: apt-get install" \
    "podman buildah runc uidmap catatonit containernetworking-plugins netavark aardvark-dns mmdebstrap iproute2 iptables"
  exit 77
fi

if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
export WORK
mkdir -p "$WORK"/{base,graph,run,net}
cat > "$WORK/containers.conf" << CONFIG
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "$WORK/net"
CONFIG
printf '[storage]\ndriver = "overlay"\nrunroot = "%s"\ngraphroot = "%s"\n' "$WORK/run" "$WORK/graph" > "$WORK/storage.conf"
export CONTAINERS_CONF="$WORK/containers.conf" CONTAINERS_STORAGE_CONF="$WORK/storage.conf"

source tests/deploy/download.sh
kubectl kustomize k8s/overlays/play > "$WORK/play.yaml"
echo "the downloads took $SECONDS s"
unshare --net --mount bash tests/deploy/offline.sh
