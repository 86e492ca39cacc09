# The part of images.sh that needs no network and gets none; runs in namespaces of its own, which end with it.
set -euo pipefail
ip link set lo up
mount -t tmpfs tmpfs /run
sysctl -qw net.ipv4.ip_forward=1

readonly SERVICES=(text vision audio fusion orchestrator)
CLIENT=.venv/bin/sensorium

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# What podman says is shown only where it fails: it complains of the systemd that is not there.
quietly() { "$@" > "$WORK/last.log" 2>&1; }

await() { # seconds, what, a command that is true in the end
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < until)) || fail "not in time: $what"
    sleep 0.2
  done
  say "$what"
}

tidy() {
  local code=$?
  if [ "$code" != 0 ]; then
    tail -n 20 "$WORK/last.log"
    podman ps --all || true
    for container in $(podman ps --all --quiet); do
      podman logs --tail 5 "$container" || true
    done
  fi
  podman pod rm --all --force > /dev/null 2>&1 || true
  podman rm --all --force --time 0 > /dev/null 2>&1 || true
  podman volume rm --all --force > /dev/null 2>&1 || true
  return "$code"
}
trap tidy EXIT

source tests/deploy/build.sh
source tests/deploy/run.sh

build_base
for service in "${SERVICES[@]}"; do
  build_image "$service"
  check_image "$service"
done
check_bills
check_tls

quietly podman network exists mesh || quietly podman network create --subnet 10.89.77.0/24 mesh
start_containers
check_mesh ""
start_pods "$WORK/play.yaml"
check_mesh -pod-0-main
