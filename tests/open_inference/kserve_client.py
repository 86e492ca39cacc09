"""Asks a server with KServe's client, in its own environment: `python kserve_client.py < asked.json`.

Prints what came of it as JSON. Imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import grpc
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient


async def _asked(address: str, model: str, inputs: dict[str, list[str]]) -> dict[str, Any]:
    client = InferenceGRPCClient(url=address)
    try:
        tensors = [
            InferInput(name, [len(elements)], "BYTES", data=[base64.b64decode(each) for each in elements])
            for name, elements in inputs.items()
        ]
        answer: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready(model),
        }
        try:
            found = await client.infer(InferRequest(model, tensors))
        except grpc.aio.AioRpcError as error:
            return {**answer, "code": error.code().name, "message": error.details()}
        return {**answer, "outputs": {each.name: each.as_numpy().tolist() for each in found.outputs}}
    finally:
        await client.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_asked(**json.load(sys.stdin)))))
