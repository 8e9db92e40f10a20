"""What several capabilities of render speak of. Times are microseconds since 1970."""

MICROS = 1_000_000
