"""runs-gateway: the runs methods of a workflow runtime over gRPC and JSON-RPC."""
