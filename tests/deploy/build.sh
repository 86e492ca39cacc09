# Builds the images and looks into each; offline.sh sources it.

build_base() {
  quietly buildah bud --isolation chroot --pull-never --tag docker.io/library/python:3.12-slim "$WORK/base" ||
    fail "the stand-in for python:3.12-slim could not be built"
  say "the base image is $(size_mb docker.io/library/python:3.12-slim) MB"
}

build_image() { # service
  quietly timeout 300 podman build --pull=never --format docker --network none --tag "localhost/sensorium-$1:ci" \
    --build-arg "SERVICE=$1" --build-arg PIP_ARGS="--no-index --find-links /requirements/wheels" . ||
    fail "the image of $1 could not be built"
}

# Above the base image, in MB; a tenth over what was measured.
declare -rA MOST_MB=([text]=275 [vision]=460 [audio]=270 [fusion]=265 [orchestrator]=165)

check_image() { # service
  local image=localhost/sensorium-$1:ci added described
  described=$(podman image inspect "$image" --format \
    '{{.Config.User}} {{.Config.StopSignal}} {{index .Config.Labels "org.opencontainers.image.title"}}')
  test "$described" = "10001:10001 SIGTERM sensorium-$1" || fail "the image of $1 says $described"
  podman image inspect "$image" --format '{{.HealthCheck.Test}}' | grep -q probe.py || fail "$1 has no HEALTHCHECK"
  added=$(($(size_mb "$image") - $(size_mb docker.io/library/python:3.12-slim)))
  ((added <= MOST_MB[$1])) || fail "the image of $1 is $added MB over its base, ${MOST_MB[$1]} were planned"
  in_image "$1" --user 0 < tests/deploy/inside.sh || fail "the image of $1 holds what it should not"
  in_image "$1" --entrypoint python -- -P - < requirements/sbom.py > "$WORK/$1.cdx.json"
  local components
  components=$(grep -c '"bom-ref"' "$WORK/$1.cdx.json")
  say "$1: $added MB over the base, $components components"
}

check_bills() {
  build/tools/bin/python - "${SERVICES[@]/#/$WORK/}" << 'PYTHON' || fail "a bill of materials is no valid CycloneDX"
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
faults = [validator.validate_str(Path(f"{path}.cdx.json").read_text()) for path in sys.argv[1:]]
sys.exit("\n".join(str(fault) for fault in faults if fault) or None)
PYTHON
  say "the bills of materials are valid CycloneDX"
}

in_image() { # service, options of podman, --, arguments; the input is what runs
  local service=$1 options=() default=(--entrypoint sh)
  shift
  while (($#)) && [ "$1" != -- ]; do
    options+=("$1")
    if [ "$1" = --entrypoint ]; then default=(); fi
    shift
  done
  podman run --rm --interactive --network none --read-only "${default[@]}" "${options[@]}" "localhost/sensorium-$service:ci" "${@:2}" \
    2> "$WORK/last.log"
}

size_mb() { echo $(($(podman image inspect "$1" --format '{{.Size}}') / 1000000)); }
