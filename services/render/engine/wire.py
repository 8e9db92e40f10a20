"""What the service and its rendering processes tell each other: length-prefixed msgpack on pipes."""

from collections.abc import Mapping, Sequence

import msgspec

from services.render.engine.model.parts import Complaint, TemplateWarning

LENGTH_BYTES = 4


class Job(msgspec.Struct, frozen=True):
    """A template to fill, or only to check."""

    parts: Mapping[str, str]
    """Liquid by the part's name."""
    context: bytes | None
    """A JSON object; None to parse the parts and no more."""


class Result(msgspec.Struct, frozen=True):
    """What became of a job."""

    parts: Mapping[str, str]
    """Filled; after a check as they came, with a text made from the HTML where none came."""
    complaint: Complaint | None = None
    warnings: Sequence[TemplateWarning] = ()
    """Of a check."""


encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_result = msgspec.msgpack.Decoder(Result).decode


def framed(message: Job | Result) -> bytes:
    """A message behind its length."""
    body = encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
