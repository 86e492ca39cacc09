"""The model side: packages, onnxruntime sessions, scheduling. Knows numpy, not gRPC."""
