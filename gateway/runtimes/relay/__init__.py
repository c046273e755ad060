"""The relay: a runtime that is another gateway, reached over gRPC."""
