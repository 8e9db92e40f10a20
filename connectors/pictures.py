"""Pictures inside a mail's HTML become parts of the mail, since many mail readers show no others.

A template may hold a picture as a `data:` URL. Gmail and Outlook do not show those, but every mail reader
shows a picture that comes with the mail and is named by its Content-ID.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

_SOURCE = re.compile(
    r"""(\bsrc\s*=\s*)(["'])data:image/(png|jpeg|gif);base64,([A-Za-z0-9+/=\s]+)\2""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to send along."""

    content_id: str
    """Without its angle brackets."""
    kind: str
    """Its MIME subtype: png, jpeg or gif."""
    content: bytes


def taken_out(html: str) -> tuple[str, list[Picture]]:
    """The HTML with references in place of the pictures that it held, and these, each once.

    The same picture has the same Content-ID in every mail. What can't be decoded stays as it is.
    """
    pictures: dict[str, Picture] = {}

    def referred(match: re.Match[str]) -> str:
        try:
            content = base64.b64decode("".join(match[4].split()), validate=True)
        except binascii.Error:
            return match[0]
        content_id = f"{hashlib.sha256(content).hexdigest()[:32]}@pictures.invalid"
        pictures[content_id] = Picture(content_id, match[3].lower(), content)
        return f"{match[1]}{match[2]}cid:{content_id}{match[2]}"

    return _SOURCE.sub(referred, html), list(pictures.values())
