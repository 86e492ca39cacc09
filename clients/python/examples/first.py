"""The first call: embeds one text. `python first.py localhost:8001`."""

import sys

import sensorium

with sensorium.Client(sys.argv[1]) as client:
    answer = client.embed([sensorium.text("a small red circle")], timeout_s=10)
    vector = answer.vectors[0]
    print(f"{answer.space}, {vector.size} numbers: {' '.join(f'{each:.2f}' for each in vector[:3])} …")
