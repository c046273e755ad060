"""The JSON-RPC runtime: any server of the canonical methods, reached over HTTP."""
