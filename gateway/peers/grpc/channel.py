"""What the gateway's own gRPC channels have in common, and where a peer puts the details of an error."""

from typing import Final

IDLE_MS: Final = 60_000
"""A connection without open calls is closed after so many milliseconds, sooner than most proxies do it; the next call
makes it again. It ends no call, as the close of a proxy may that comes while a call begins."""

PING_TIMEOUT_MS: Final = 60_000
"""How long the answer to a ping may take. On a slow link it stands behind what the peer has sent before, which may be
megabytes, and grpc also pings while that comes, to measure the link."""

DETAILS_TRAILER: Final = "grpc-status-details-bin"
"""The trailing metadata that holds the google.rpc.Status of a failed call."""

PUSHBACK_TRAILER: Final = "grpc-retry-pushback-ms"
"""The trailing metadata by which gRPC itself learns when to call again: milliseconds, in decimal."""


def channel_options(*, min_reconnect_ms: int, keepalive_ms: int) -> tuple[tuple[str, int], ...]:
    """Return the options of a channel to a gateway or an engine, as grpc takes them.

    After a failed attempt to connect, the next one begins after `min_reconnect_ms` at the earliest. While calls are
    open and nothing comes, the peer is pinged every `keepalive_ms`. The connection counts as lost when the machine of
    the peer has not acknowledged that within 10 seconds, or the peer has not answered within PING_TIMEOUT_MS. After
    IDLE_MS without calls it is closed.
    """
    return (
        # Sizes are limited by the peer, which says what is wrong; grpc's own limit is 4 MB.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # The peer is a neighbour, which a proxy to the outside world would not find.
        ("grpc.enable_http_proxy", 0),
        # The peer is back within seconds after a restart; by default grpc would soon try every two minutes only.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", min_reconnect_ms),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A new channel is a new connection; channels that shared one would share its flow-control window.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.client_idle_timeout_ms", IDLE_MS),
        ("grpc.keepalive_time_ms", keepalive_ms),
        # That of TCP (TCP_USER_TIMEOUT): a machine that has vanished acknowledges nothing.
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
    )
