"""Etags: short texts that tell which state of a resource a caller has read, after AIP-154."""

import hashlib

import msgspec

from libs.errors import Conflict


class EtagMismatch(Conflict):
    """The resource has changed since it was read."""

    reason = "ETAG_MISMATCH"


def etag_of(*parts: object) -> str:
    """A short text that is another one as soon as one of `parts` is: numbers, texts, bytes, lists."""
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=9).hexdigest()


def check_etag(given: str, actual: str, what: str) -> None:
    """Raise `EtagMismatch` where a caller names an etag, and it is not the one that `what` has."""
    if given and given != actual:
        raise EtagMismatch(
            f"{what} has changed since it was read: read it again", **({"etag": actual} if actual else {})
        )
