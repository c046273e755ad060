"""The options of the clients' channels."""

from typing import Final

from gateway.peers.grpc.channel import channel_options

CHANNEL_OPTIONS: Final = channel_options(min_reconnect_ms=1_000, keepalive_ms=30_000)
"""The options of the clients' channels, for users who create a channel themselves."""
