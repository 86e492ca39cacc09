"""The programs of the mesh; none imports a sibling."""

import os

# gRPC's core writes lines that are no JSON, one for each handshake that a scanner of ports breaks off. It reads this
# when it is loaded, which is after this package where a service is run as `python -m services.<name>`.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
