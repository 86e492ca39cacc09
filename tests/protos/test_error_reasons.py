"""The reasons in the code and in the contract are the same."""

from __future__ import annotations

from sensorium.errors import Reason
from sensorium.v1 import error_reason_pb2


def test_every_reason_is_in_the_contract_and_the_other_way_round() -> None:
    assert {reason.value for reason in Reason} == set(error_reason_pb2.ErrorReason.keys())
