"""What more than one service needs. Never imports services."""

import os

# onnxruntime reports to its makers unless it is told not to before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
