"""How a channel spreads calls over the addresses of a name: in turn, around the bad ones, and with a second try."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

# The unary methods whose second call does no harm, by service. LoadModel, UnloadModel and SetDefaultModel are not
# among them: whoever asked for one must hear of the first try. Streams neither: what was sent into one is not kept for
# another.
IDEMPOTENT: Mapping[str, Sequence[str]] = {
    "sensorium.v1.TextEncoderService": ("EncodeText", "Tokenize"),
    "sensorium.v1.VisionEncoderService": ("EncodeImage",),
    "sensorium.v1.AudioEncoderService": ("EncodeAudio",),
    "sensorium.v1.FusionService": ("Fuse", "Project", "Predict"),
    "sensorium.v1.ModelService": ("ListModels", "GetModel"),
    "sensorium.v1.OrchestratorService": (
        *("Embed", "EmbedWindows", "Compare", "Classify", "Fuse", "Describe"),
        *("Tokenize", "Project", "Predict"),
    ),
}

# At most four tries within about 0.15 s: enough to get past replicas that are going, not to sit out a restart.
# CANCELLED is how gRPC's core ends calls that a stopping server has not begun; what a caller cancels is not retried.
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
# The budget of all calls of a process to one target: a failed try takes 1, a call that ends well gives 0.1, and at half
# of the full purse nothing is tried again. So a replica that dies with 100 calls in flight costs no caller an error,
# and a service that is down gets at most a tenth more calls than callers make.
_BUDGET = {"maxTokens": 200, "tokenRatio": 0.1}

# gRPC counts every status but OK as a failure of the replica, RESOURCE_EXHAUSTED and INVALID_ARGUMENT too. So only a
# replica that answers practically nothing is left out: an overloaded one still answers what it has room for. One may
# always go, further ones only up to three in ten. The first time it is left for 5 s, then for 10, …
_EJECTION = {
    "interval": "1s",
    "baseEjectionTime": "5s",
    "maxEjectionTime": "30s",
    "maxEjectionPercent": 30,
    "failurePercentageEjection": {"threshold": 98, "minimumHosts": 2, "requestVolume": 10},
}


def service_config(*, leave_draining: bool) -> str:
    """Returns the gRPC service config of a channel of ours, as JSON.

    leave_draining: whether a replica is left out from when its health says that the process ends.
    """
    ejecting = {**_EJECTION, "childPolicy": [{"round_robin": {}}]}
    names = [{"service": service, "method": method} for service, methods in IDEMPOTENT.items() for method in methods]
    # The empty name is the process: it serves until it drains, whatever its models do.
    health = {"healthCheckConfig": {"serviceName": ""}} if leave_draining else {}
    return json.dumps(
        {
            **health,
            # A core that does not know the first policy takes the second.
            "loadBalancingConfig": [{"outlier_detection_experimental": ejecting}, {"round_robin": {}}],
            "methodConfig": [{"name": names, "retryPolicy": _RETRY}],
            "retryThrottling": _BUDGET,
        }
    )
