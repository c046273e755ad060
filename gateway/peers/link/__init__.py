"""The link between a worker and the runtime of its gateway: a connection for many calls, a write for many messages."""
