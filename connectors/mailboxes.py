"""Mailboxes and headers in the form of RFC 5322 and RFC 2047: what other servers read as it was meant."""

import re
from dataclasses import dataclass
from email.header import Header

_SPECIAL = re.compile(r'[()<>\[\]:;@\\,."]')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LOCAL = re.compile(r"[ -~]+")
_DOMAIN = re.compile(r"[A-Za-z0-9_.-]+|\[[!-Z^-~]+\]")
_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE = 76


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, which may be empty, and an address."""

    name: str
    local: str
    domain: str

    @property
    def spec(self) -> str:
        """The address as SMTP and headers write it: a local part that is not made of atoms is quoted."""
        if _DOT_ATOM.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'

    def header(self, field: str) -> str:
        """The value of a header field: in ASCII, on lines that are not too long."""
        if not self.name:
            return self.spec
        name = encoded(field, self.name) if not self.name.isascii() else _phrase(self.name)
        line = name.rpartition("\n")[2]
        long = len(line) + len(self.spec) + (len(field) + 2 if line == name else 0) > _LINE
        return f"{name}{chr(10) if long else ''} <{self.spec}>"


def mailbox_of(text: str) -> Mailbox:
    """From `Name <address>`, the name quoted or not, or an address; ValueError where it is no mailbox."""
    if _BREAKING.search(text):
        raise ValueError("the mailbox has more than one line")
    if not text.endswith(">"):
        return Mailbox("", *_address(text.strip()))
    name, opened, address = text[:-1].rpartition("<")
    if not opened:
        raise ValueError("the mailbox has no address")
    name = name.strip()
    quoted = _QUOTED.fullmatch(name)
    return Mailbox(_unescaped(quoted[1]) if quoted else name, *_address(address.strip()))


def encoded(field: str, text: str) -> str:
    """A text that is not ASCII as encoded words, folded behind a field's name."""
    return Header(text, "utf-8", maxlinelen=_LINE - 1, header_name=field).encode(linesep="\n")


def _address(text: str) -> tuple[str, str]:
    local, _, domain = text.rpartition("@")
    quoted = _QUOTED.fullmatch(local)
    bare = _unescaped(quoted[1]) if quoted else local
    allowed = _LOCAL.fullmatch(bare) and (quoted or not re.search(r'[\s()<>\[\]:;@\\,"]', bare))
    if not allowed or not _DOMAIN.fullmatch(domain):
        raise ValueError("the mailbox is not one address in ASCII")
    return bare, domain


def _phrase(name: str) -> str:
    if not _SPECIAL.search(name) and "=?" not in name:
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
