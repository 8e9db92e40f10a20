"""Signed links that unsubscribe: render puts them into mail, ingest takes them back."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import astuple, dataclass

PATH = "/v1/unsubscribe/"
_PURPOSE = b"tessera unsubscribe\0"
_MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Who no longer wants mail, and which mail said so."""

    email: str
    campaign_id: str
    user_id: str = ""
    """Names the person where they have one: an address alone may be two people's, and then nobody's."""


class Links:
    """Makes and reads links with a secret that both sides share.

    A link has no end: whoever finds an old mail may unsubscribe.
    """

    def __init__(self, key: str, public_url: str = "") -> None:
        self._key = key.encode()
        self._base = public_url.rstrip("/") + PATH

    @property
    def preview_url(self) -> str:
        """A link that unsubscribes nobody."""
        return self._base + "preview"

    def url(self, unsubscription: Unsubscription) -> str:
        """The link of one mail."""
        return self._base + self.token(unsubscription)

    def token(self, unsubscription: Unsubscription) -> str:
        """The link's last part: what it names, and a signature, in letters that a URL holds."""
        body = json.dumps(astuple(unsubscription), separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode()

    def read(self, token: str) -> Unsubscription | None:
        """What a token names; None for one that this secret did not sign."""
        try:
            signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            return None
        return Unsubscription(*json.loads(body))

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + body, hashlib.sha256)[:_MAC_BYTES]
