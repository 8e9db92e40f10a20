"""Times as all services keep them, microseconds since 1970, and as contracts carry them."""

from google.protobuf.timestamp_pb2 import Timestamp


def micros(time: Timestamp) -> int:
    """Microseconds since 1970."""
    return time.seconds * 1_000_000 + time.nanos // 1000


def timestamp(value: int) -> Timestamp:
    """From microseconds since 1970."""
    seconds, rest = divmod(value, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def set_time(time: Timestamp, value: int) -> None:
    """Set a contract's time, in place, to microseconds since 1970."""
    time.seconds, rest = divmod(value, 1_000_000)
    time.nanos = rest * 1000
