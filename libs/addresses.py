"""The normal form of email addresses and phone numbers, by which they are compared."""

import re

# No control characters, of which `\s` holds only some: a database refuses U+0000.
_ATOM = r"[^@\s\x00-\x1f\x7f<>\"(),:;\[\]\\"
_EMAIL = re.compile(rf"{_ATOM}]+@{_ATOM}.]+(\.{_ATOM}.]+)+")
_PHONE_NOISE = re.compile(r"[\s().\-/]")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


def normal_email(value: str) -> str | None:
    """The address trimmed and in lower case; None where it is none."""
    text = value.strip().lower()
    return text if len(text) <= 254 and _EMAIL.fullmatch(text) else None


def normal_phone(value: str) -> str | None:
    """The number in E.164 form, `+` and 7 to 15 digits; None where it is none.

    A number without its country is nobody's: it is not guessed at.
    """
    text = _PHONE_NOISE.sub("", value.strip())
    if text.startswith("00"):
        text = f"+{text[2:]}"
    return text if _PHONE.fullmatch(text) else None
