"""Translation between protobuf, JSON-RPC and the canonical messages. No input or output."""
