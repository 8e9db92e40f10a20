"""Values that name nobody: what integrations send where they have no id.

As an identifier such a value would join strangers. The words are those that Segment, RudderStack, PostHog,
Mixpanel and Amplitude refuse, or that their users report; in any case, width, quotes or brackets, with
spaces inside or around, repeated, or as a placeholder that nobody has filled in.
"""

import hashlib
import html
import re
import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

# What stands for "there is none", alone, repeated, or joined with others of them: `null null`, `none,none`.
NOTHING: Final = frozenset(
    {"null", "nil", "none", "undefined", "undef", "nan", "n/a", "n.a", "na", "unknown", "nul", "dbnull"}
    | {"not set", "notset", "not_set", "not-set", "unset", "not available", "not provided", "no value"}
    | {"not applicable", "nonetype", "infinity", "-infinity", "\\n", "nat", "empty", "blank", "deleted"}
    | {"filtered", "redacted", "removed", "hidden"}
    # In the languages of those who export.
    | {"leer", "unbekannt", "nicht gesetzt", "keine", "keiner", "inconnu", "aucun", "vide", "desconocido"}
    | {"ninguno", "vacío", "desconhecido", "nenhum", "vazio", "sconosciuto", "nessuno", "vuoto", "onbekend"}
    | {
        "leeg",
        "okänd",
        "ukjent",
        "ukendt",
        "tuntematon",
        "nieznany",
        "неизвестно",
        "пусто",
        "未知",
        "不明",
        "なし",
    }
)
# What stands for anybody, or names the field instead of its value.
ANYBODY: Final = frozenset(
    {"-1", "true", "false", "anonymous", "anon", "guest", "visitor", "user", "default", "test"}
    | {"anonymous user", "guest user", "unknown user", "not_authenticated", "not authenticated", "lmy47d"}
    | {"unauthenticated", "logged out", "not logged in", "object object", "class 'nonetype"}
    | {"id", "uid", "user id", "userid", "user_id", "user-id", "user.id", "customer id", "customer_id"}
    | {"customerid", "customer.id", "distinctid", "distinct_id", "anonymousid", "anonymous_id", "email"}
    | {"your_user_id", "device_id", "deviceid", "client_id", "visitor_id", "visitorid", "contact.id"}
    | {"gast", "invité", "invitado", "ospite", "anonym", "anonyme", "anónimo", "anonimo", "гость", "匿名"}
    | {"#nv", "#wert!", "#bezug!", "#n/d", "#n/a", "#¡valor!", "#valeur!", "#valor!", "#nom?", "#nombre?"}
    | {"02:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}
    | {"ffffffff-ffff-ffff-ffff-ffffffffffff", "#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!"}
)
BLOCKED_VALUES: Final = (
    NOTHING | ANYBODY | {"", "0", "[object object]", "00000000-0000-0000-0000-000000000000"}
)

# Nothing but zeros, and what may stand between them; or one letter that fills a field.
_ZEROS = re.compile(r"[\W_0]*|0x0+|([fx])\1{7,}")
# What a program prints of something that is no id.
_PRINTED = re.compile(
    r"\[?object \w+\]?|optional(?:\.empty|\.none|\(nil\))?|<?built-in\b.*|function\b.*\(.*|<.* object at .*>",
    re.DOTALL,
)
# A field that was to be filled in, and nothing else; with digits it may be somebody's id in braces.
_WHOLLY_WRAPPED = re.compile(r"[@#$]?(?:\{\D*\}|\[\D*\]|%[^\d\s]+%|<\D*>)|\{\d\d?\}|%(?:\d+\$)?[sdi@]")
# A placeholder that was never filled in, wherever it stands: the rest is the same for everybody.
_PLACEHOLDER = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\$\{.*?\}|#\{.*?\}|@\{.*?\}|%%.+?%%|<%.*?%>|\*\|.+?\|\*|\[\[.+?\]\]|\[%.+?%\]"
    r"|\$\(.+?\)|%\w*\(.+?\)s|__[a-z]+(?:_[a-z]+)*__",
    re.IGNORECASE | re.DOTALL,
)
# What stands around a value, or marks a variable.
_WRAPPING = "\"'`´‘’“”„«»‹›()[]{}<>|%$#@*:;,.!?=\\/~^&"
_BETWEEN = re.compile(r"[\s,;|/_&+:=.\-]+")
_REPEATED = re.compile("(?:null|none|undefined|nan|nil)+")
# What the field is called: `user_undefined`, `id=null`.
_FIELDS: Final = frozenset(
    {"user", "customer", "cust", "client", "member", "contact", "account", "profile", "visitor", "guest"}
    | {"subscriber", "device", "anonymous", "anon", "id", "uid", "uuid", "guid", "email", "old", "new", "my"}
)
# Phrases, however their words are joined.
_JOINT = re.compile(r"[\s_.\-]")
_JOINED: Final = {_JOINT.sub("", phrase) for phrase in NOTHING | ANYBODY if " " in phrase}
# Invisible characters that `strip` leaves.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)


# Most ids: letters, digits and what joins them. With a digit but zero, only these name nobody: what stands
# for none, what many devices have, and the hashes of nothing.
_PLAIN = re.compile(r"[a-z]:[\w.@+\-]*[1-9][\w.@+\-]*", re.ASCII)
_WITH_DIGITS = frozenset(
    {"-1", "lmy47d", "9774d56d682e549c"}
    | {name(b"").hexdigest() for name in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512)}
)
# Numbers that people type where they must type one.
_DUMMY_PHONE = re.compile(r"p:\+\d{0,3}?(?:(\d)\1{6,}|0?123456789?0?)")


def is_blocked_value(identifier: str) -> bool:
    """Whether the value names nobody, whoever sends it."""
    if identifier[:1] == "p" and _DUMMY_PHONE.fullmatch(identifier):
        return True
    if _PLAIN.fullmatch(identifier):
        return identifier[2:].lower() in _WITH_DIGITS
    return _is_leftover(identifier)


@lru_cache(maxsize=10_000)
def _is_leftover(identifier: str) -> bool:
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", html.unescape(identifier[2:])))
    # Zeros are zeros in any script.
    value = "".join(str(unicodedata.decimal(c, c)) for c in text).strip().casefold()
    if identifier[:1] == "e" and "@" in value:
        local, _, domain = value.rpartition("@")
        # `null@null.com`: somebody glued nothing to nothing.
        return _is_nothing(local) and _is_nothing(domain.partition(".")[0])
    return _names_nobody(value) or ("%" in value and _names_nobody(unquote(unquote(value)).strip()))


def _names_nobody(value: str) -> bool:
    if value in BLOCKED_VALUES or _ZEROS.fullmatch(value) or _PLACEHOLDER.search(value):
        return True
    if _PRINTED.fullmatch(value) or _WHOLLY_WRAPPED.fullmatch(value):
        return True
    bare = value.strip(_WRAPPING).strip()
    while bare != (barer := bare.strip(_WRAPPING).strip()):
        bare = barer
    return bare in BLOCKED_VALUES or _JOINT.sub("", bare) in _JOINED or _is_nothing(bare)


def _is_nothing(value: str) -> bool:
    """Whether it is a word for nothing, or several of them and nothing else."""
    words = [word.strip(_WRAPPING) for word in _BETWEEN.split(value) if word]
    nothings = sum(word in NOTHING or bool(_REPEATED.fullmatch(word)) for word in words)
    fields = sum(word in _FIELDS for word in words)
    return value in NOTHING or (nothings > 0 and nothings + fields == len(words))
