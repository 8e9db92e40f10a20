"""Links that unsubscribe: render puts them into mail, ingest takes them back.

A link tells nobody anything: whom it is for and which mail it stood in are encrypted and authenticated
together (AES-SIV). It is one short line whatever the ids, and the same for the same mail, so that a mail
that is made again is the same. It has no end: whoever finds an old mail may unsubscribe.
"""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

PATH: Final = "/v1/unsubscribe/"
LEAST_KEY: Final = 16
_PURPOSE: Final = b"tessera unsubscribe 2"
_ID_BYTES: Final = 4
# A longer one would make the line long: the message tells it as well.
_MOST_CAMPAIGN: Final = 20


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Who no longer wants mail, and which mail said so."""

    profile_id: str
    message_id: str
    campaign_id: str = ""
    """Empty where it is long."""


def keys_of(setting: str) -> tuple[str, ...]:
    """The secrets in a setting, newest first, with commas between; ValueError where one is too short."""
    keys = tuple(filter(None, (key.strip() for key in setting.split(","))))
    if any(len(key) < LEAST_KEY for key in keys):
        raise ValueError(f"each of UNSUBSCRIBE_KEYS must have at least {LEAST_KEY} characters")
    return keys


class Links:
    """Makes links with the first of some secrets, and reads those of all of them.

    A token names the secret that it was made with, so that a new one can be put in front while links of the
    old one still work.
    """

    def __init__(self, keys: Sequence[str], public_url: str = "") -> None:
        if not keys:
            raise ValueError("a secret is needed to make links")
        self._ciphers = {_key_id(key): AESSIV(_derived(key)) for key in reversed(keys)}
        self._newest = _key_id(keys[0])
        self._base = public_url.rstrip("/") + PATH

    @property
    def preview_url(self) -> str:
        """A link that unsubscribes nobody."""
        return self._base + "preview"

    def url(self, profile_id: str, message_id: str, campaign_id: str = "") -> str:
        """The link of one mail."""
        short = campaign_id if len(campaign_id) <= _MOST_CAMPAIGN else ""
        return self._base + self.token(Unsubscription(profile_id, message_id, short))

    def token(self, unsubscription: Unsubscription) -> str:
        """The link's last part, in letters that a URL holds."""
        named = (unsubscription.profile_id, unsubscription.message_id, unsubscription.campaign_id)
        body = msgspec.msgpack.encode([_packed(text) for text in named])
        sealed = self._ciphers[self._newest].encrypt(body, [_PURPOSE])
        return base64.urlsafe_b64encode(self._newest + sealed).rstrip(b"=").decode()

    def read(self, token: str) -> Unsubscription | None:
        """What a token names; None for one that none of these secrets made."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        cipher = self._ciphers.get(raw[:_ID_BYTES])
        if cipher is None or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != token:
            return None
        try:
            body = cipher.decrypt(raw[_ID_BYTES:], [_PURPOSE])
        except (InvalidTag, ValueError):
            return None
        return Unsubscription(*map(_unpacked, msgspec.msgpack.decode(body)))


def _key_id(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_ID_BYTES, person=b"unsubscribe id").digest()


def _derived(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=64, person=b"unsubscribe").digest()


def _packed(text: str) -> bytes | str:
    """A UUID in its 16 bytes, another id as it is."""
    try:
        number = uuid.UUID(text)
    except ValueError:
        return text
    return number.bytes if str(number) == text else text


def _unpacked(packed: bytes | str) -> str:
    return packed if isinstance(packed, str) else str(uuid.UUID(bytes=packed))
