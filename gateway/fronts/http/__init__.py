"""The HTTP front: JSON-RPC, event streams and the blob API."""
