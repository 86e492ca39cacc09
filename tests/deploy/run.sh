# Runs the images, kills each container, and stops them; offline.sh sources it.
#
# A mesh is five containers whose names end alike: nothing for containers, -pod-0-main for pods.

readonly LOCKED=(--read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 128 --memory 1g --cpus 1)

start_containers() { # the orchestrator first, which finds none of its peers
  local service peers=()
  for service in text vision audio fusion; do
    peers+=(--env "SENSORIUM_${service^^}_ADDR=dns:///$service:8001")
  done
  run_container orchestrator "${peers[@]}"
  for service in text vision audio fusion; do
    run_container "$service"
  done
}

run_container() { # service, further options
  quietly podman run --detach --name "$1" --network mesh --restart always "${LOCKED[@]}" "${@:2}" "localhost/sensorium-$1:ci"
}

start_pods() { quietly podman kube play --network mesh "$1"; }

check_mesh() { # ending
  local service
  for service in "${SERVICES[@]}"; do
    await 60 "$service$1 is healthy" is_healthy "$service$1"
  done
  await 30 "the mesh answers" answers "$1"
  for service in "${SERVICES[@]}"; do
    kill -KILL "$(podman inspect --format '{{.State.Pid}}' "$service$1")"
    await 30 "$service$1 was killed and is back" is_restarted "$service$1"
    await 60 "$service$1 is healthy" is_healthy "$service$1"
    await 30 "the mesh answers" answers "$1"
  done
  for service in orchestrator fusion audio vision text; do # the face first, so that its calls find their peers
    stop "$service$1"
  done
  say "all ended with exit code 0"
}

stop() { # container
  quietly podman stop --time 30 "$1"
  local code
  code=$(podman inspect --format '{{.State.ExitCode}}' "$1")
  test "$code" = 0 || fail "$1 ended with exit code $code"
  quietly podman rm --force "$1"
}

# podman runs health checks by itself only under systemd.
is_healthy() { quietly podman healthcheck run "$1"; }

is_restarted() { test "$(podman inspect --format '{{.RestartCount}} {{.State.Status}}' "$1")" = "1 running"; }

# A picture, a spoken word and a sentence find their labels through the orchestrator.
answers() { # ending
  timeout 20 "$CLIENT" classify demo/inputs/two-small-red-circles.png demo/inputs/spoken-seven-en-us.wav "a cat" \
    --label "two small red circles" --label seven --label cat --address "$(address_of "orchestrator$1")" --json \
    > "$WORK/answer.json" 2> "$WORK/last.log" || return 1
  .venv/bin/python -c 'import json, sys; print(*(each["labels"][0]["name"] for each in json.load(sys.stdin)["items"]), sep=", ")' \
    < "$WORK/answer.json" | grep -qx "two small red circles, seven, cat"
}

address_of() { # container
  local pod
  pod=$(podman inspect --format '{{.Pod}}' "$1")
  if [ -n "$pod" ]; then # then the address is that of the container which only holds the network
    pod=$(podman pod inspect --format '{{.InfraContainerID}}' "$pod")
  fi
  echo "$(podman inspect --format '{{.NetworkSettings.Networks.mesh.IPAddress}}' "${pod:-$1}"):8001"
}

# With TLS of both sides the health check of the image still works: the probe shows the server's own certificate.
check_tls() {
  mkdir -p "$WORK/tls"
  .venv/bin/python - "$WORK/tls" << 'PYTHON'
import sys
from pathlib import Path

from tests.certificates import Authority

folder, authority = Path(sys.argv[1]), Authority()
authority.issue().write(folder, "tls")
(folder / "ca.pem").write_bytes(authority.pem)
for path in folder.iterdir():
    path.chmod(0o444)
PYTHON
  quietly podman run --detach --name tls --network none "${LOCKED[@]}" --volume "$WORK/tls:/tls:ro" \
    --env SENSORIUM_TLS_CERT=/tls/tls.pem --env SENSORIUM_TLS_KEY=/tls/tls.key --env SENSORIUM_TLS_CLIENT_CA=/tls/ca.pem \
    localhost/sensorium-fusion:ci
  await 60 "a service with mTLS is healthy" is_healthy tls
  if podman logs tls 2>&1 | grep -i telemetry; then fail "onnxruntime reports to its makers"; fi
  stop tls
}
