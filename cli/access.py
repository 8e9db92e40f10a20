"""Who may call what in a local Tessera: the person, the services that call others, and whom one adds."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cli.home import Home
from cli.secret_files import SecretFiles, write_private
from libs.errors import FailedPrecondition

ADMIN = "admin"
CONNECTOR = "connector"

# Events and traits are personal data: without `pii.read` a caller would get them masked.
PERMISSIONS = {
    ADMIN: ["*"],
    "segment": ["profile.history", "profile.read", "pii.read"],
    "recommend": ["profile.history", "pii.read"],
    "render": ["profile.read", "segment.read", "recommend.read", "pii.read"],
    CONNECTOR: ["render.deliver", "pii.read"],
}


def key_name(caller: str) -> str:
    """The name of the secret that is a caller's API key."""
    return f"{caller}-key"


def password_name(service: str) -> str:
    """The name of the secret that is a service's password at the database."""
    return f"{service}-database-password"


def write_api_keys(home: Home, secrets: SecretFiles) -> None:
    """Make the keys that are missing, and write what the services know of them: their hashes."""
    own = {
        caller: _entry(secrets.get(key_name(caller)), permissions)
        for caller, permissions in PERMISSIONS.items()
    }
    # Keys that somebody has added stay.
    _write(home, {**read_api_keys(home), **own})


def read_api_keys(home: Home) -> dict[str, Any]:
    """What the services know of the keys, by name; empty where nothing ever ran."""
    if not home.api_keys.exists():
        return {}
    try:
        keys = orjson.loads(home.api_keys.read_bytes())
    except orjson.JSONDecodeError as error:
        raise FailedPrecondition(
            f"{home.api_keys} is not valid JSON: {error}; mend it or delete it"
        ) from None
    if not isinstance(keys, dict):
        raise FailedPrecondition(f"{home.api_keys} holds no object by name; mend it or delete it")
    return keys


def put_api_key(home: Home, name: str, permissions: Sequence[str]) -> str:
    """Make a key, or say anew what the one of this name may do; return the key."""
    key = _added(home).get(name)
    _write(home, {**read_api_keys(home), name: _entry(key, permissions)})
    return key


def delete_api_key(home: Home, name: str) -> bool:
    """Forget a key; false where there is none of this name."""
    keys = read_api_keys(home)
    if keys.pop(name, None) is None:
        return False
    _write(home, keys)
    _added(home).path(name).unlink(missing_ok=True)
    return True


def _added(home: Home) -> SecretFiles:
    """Beside our own secrets, so that no name is taken."""
    return SecretFiles(home.secrets / "keys")


def _entry(key: str, permissions: Sequence[str]) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), "permissions": list(permissions)}


def _write(home: Home, keys: Mapping[str, Any]) -> None:
    write_private(home.api_keys, orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode() + "\n")
