"""The normal form of email addresses and phone numbers, by which they are compared.

Two addresses are one where mail to both goes to one mailbox for certain: letters of ASCII are folded, text
is composed (NFC), what nobody sees is left out, and a domain stands as it does in the DNS, by its A-label.
Nothing else is folded: the Kelvin sign is no k, and what looks like another address is not that one.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import idna

# No control characters, of which `\s` holds only some: a database refuses U+0000. Dots may stand anywhere in
# the local part: carriers in Japan gave out addresses such as `sora..88@`, which mail quotes.
_ATOM: Final = r"[^@\s\x00-\x1f\x7f<>\"(),:;\[\]\\"
# The DNS has other names as well, but no mail goes there: a quote behind the address is a slip.
_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_EMAIL: Final = re.compile(rf"{_ATOM}]+@{_LABEL}(?:\.{_LABEL})+")
_MOST_BYTES: Final = 254
# Unicode's Default_Ignorable_Code_Point, all that is drawn as nothing: joiners, marks of direction, the soft
# hyphen, variation selectors, tags …
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Controls, surrogates, private use, and the blank that is no space.
_UNSPEAKABLE: Final = re.compile("[\x80-\x9f\ud800-\udfff\ue000-\uf8ff\u2800\U000f0000-\U0010ffff]")
_UPPER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
# The hyphens and dashes that programs for texts put in the place of `-`, too.
_PHONE_NOISE: Final = re.compile(r"[\s().\-/\u2010-\u2015\u2212]")
_TEL: Final = re.compile(r"\Atel:\s*", re.IGNORECASE)
_TRUNK: Final = re.compile(r"\(\s*0\s*\)")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")


def normal_email(value: str) -> str | None:
    """The address in its normal form; None where it is none, or may be mistaken for another."""
    if value.isascii():
        text = value.strip().lower()
        return text if len(text) <= _MOST_BYTES and _EMAIL.fullmatch(text) else None
    return _normal_international(value)


def _normal_international(value: str) -> str | None:
    visible = _INVISIBLE.sub("", value).strip()
    text = _composed(visible)
    if text is None or _UNSPEAKABLE.search(text):
        return None
    local, at, domain = text.translate(_UPPER).rpartition("@")
    ascii_domain = domain if domain.isascii() else _a_labels(domain)
    if not at or ascii_domain is None:
        return None
    address = f"{local}@{ascii_domain}"
    return address if len(address.encode()) <= _MOST_BYTES and _EMAIL.fullmatch(address) else None


def _composed(text: str) -> str | None:
    """The text in NFC; None where that makes ASCII of what is none, as of the Kelvin sign.

    Such a letter was chosen to be mistaken: to fold it would give its sender another one's address.
    """
    composed = unicodedata.normalize("NFC", text)
    if composed == text:
        return text
    for letter in text:
        if not letter.isascii() and unicodedata.normalize("NFC", letter).isascii():
            return None
    return composed


@lru_cache(maxsize=4096)
def _a_labels(domain: str) -> str | None:
    """A domain as the DNS has it, after UTS 46; None where it is none."""
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return None


def normal_phone(value: str) -> str | None:
    """The number in E.164 form, `+` and 7 to 15 digits; None where it is none.

    A number without its country is nobody's: it is not guessed at.
    """
    text = value if value.isascii() else _INVISIBLE.sub("", value)
    text = text.strip()
    if text[:1] in ("t", "T"):
        text = _TEL.sub("", text)
    if text.startswith(("+", "00")):
        # `+49 (0)30 …`: the zero is for those who call from inside the country.
        text = _TRUNK.sub("", text)
    text = _PHONE_NOISE.sub("", text)
    if text.startswith("00"):
        text = f"+{text[2:]}"
    return text if _PHONE.fullmatch(text) else None
