"""Channel arguments that servers and channels share, and those of each."""

from typing import Final

MESSAGE_BYTES: Final = 16 * 1024 * 1024

_BOTH: Final[list[tuple[str, int | str]]] = [
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # A peer that vanished without a word is noticed within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Also on a stream that is silent for long, such as a subscription at night.
    ("grpc.http2.max_pings_without_data", 0),
]

SERVER: Final[list[tuple[str, int | str]]] = [
    *_BOTH,
    # Else a stale server could share the port unnoticed.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 seconds, also where a subscriber waits in silence: that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients look addresses up only when they connect: without an end they would never find a new replica.
    ("grpc.max_connection_age_ms", 300_000),
]

CHANNEL: Final[list[tuple[str, int | str]]] = [
    *_BOTH,
    ("grpc.lb_policy_name", "round_robin"),
    # Left alone it waits up to two minutes before it tries a server again that was restarted.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Connections shared within the process would share the back-off of others, too.
    ("grpc.use_local_subchannel_pool", 1),
    # The services are neighbours: a proxy for the web is not for them.
    ("grpc.enable_http_proxy", 0),
    # Retries are our own interceptor's: see channel.py.
    ("grpc.enable_retries", 0),
]
