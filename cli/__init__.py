"""The `tessera` command."""

import os

# Read when gRPC is loaded. Our children only fork to become other programs: there is nothing for gRPC
# to look after, and it would complain on standard error each time.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
