"""The server side: interceptors, health, reflection, drain, config, telemetry. Knows gRPC, not onnxruntime."""
