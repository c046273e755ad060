"""Another gateway, reached over gRPC, as a runtime."""
