"""Mailboxes, `Name <address>` or an address, brought into the form of RFC 5322."""

import re
import unicodedata

from libs.addresses import normal_email
from libs.errors import Invalid, Required

_MOST = 200
# What has a meaning of its own in a header: a name that holds it is written in quotes.
_SPECIAL = re.compile(r'[()<>\[\]:;@\\,."]')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ENCODED_WORD = re.compile(r"=\?.*\?=")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_mailbox(field: str, value: str) -> str:
    """One mailbox, its name quoted where it must be; Invalid where it is none, or more than one.

    The name may be written bare, with whatever characters a name has: `Shop: News <news@shop.example>`.
    The address is in ASCII, as mail servers take it everywhere.
    """
    text = value.strip()
    if not text:
        raise Required(field, "is required")
    if len(text) > _MOST or any(map(_breaks_a_line, text)):
        raise Invalid(field, f"must be one line of at most {_MOST} characters")
    if not text.endswith(">"):
        return _address(field, text)
    name, opened, address = text[:-1].rpartition("<")
    if not opened:
        raise Invalid(field, "has a > without a <")
    name = _name(field, name.strip())
    spec = _address(field, address.strip())
    return f"{name} <{spec}>" if name else spec


def address_of(mailbox: str) -> str:
    """The address of a mailbox that was checked."""
    return mailbox[:-1].rpartition("<")[2] if mailbox.endswith(">") else mailbox


def _name(field: str, text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    name = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if quoted is None:
        if "<" in text or ">" in text:
            raise Invalid(field, "must be one mailbox: there is more than one address in angle brackets")
        if any(normal_email(piece) for piece in re.split(r"[,;]", text)) and re.search(r"[,;]", text):
            raise Invalid(field, "must be one mailbox, and has more than one address")
    if _ENCODED_WORD.search(name):
        raise Invalid(field, "must hold the name's own letters, not encoded words")
    if not _SPECIAL.search(name):
        return " ".join(name.split())
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _address(field: str, text: str) -> str:
    local, _, domain = text.rpartition("@")
    quoted = _QUOTED.fullmatch(local)
    bare = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else local
    plain = f"{bare}@{domain}"
    if not plain.isascii() or normal_email(plain) is None:
        raise Invalid(
            field, "must be one address in ASCII, or a name and one address in angle brackets at the end"
        )
    return plain if _DOT_ATOM.fullmatch(bare) else f'"{bare}"@{domain}'


def _breaks_a_line(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS
