"""Who may call what in a local Tessera: a key for the person, one for each service that calls others."""

import hashlib

import orjson

from libs.cli.home import Home
from libs.cli.secret_files import SecretFiles, write_private

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
    keys = {
        caller: {
            "sha256": hashlib.sha256(secrets.get(key_name(caller)).encode()).hexdigest(),
            "permissions": permissions,
        }
        for caller, permissions in PERMISSIONS.items()
    }
    write_private(home.api_keys, orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode() + "\n")
