"""The Open Inference Protocol (KServe v2) in front of the same servicers that answer the calls of the contract."""
