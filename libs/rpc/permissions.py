"""Who may call what: permissions from the contract, API keys from a file."""

import hashlib
import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

import tessera
from libs.errors import KeyMissing, KeyUnknown, PermissionDenied
from libs.rpc.calls import ANONYMOUS, Caller
from tessera.options.v1 import options_pb2

log = structlog.get_logger(__name__)

PUBLIC: Final = "public"
_LOOK_SECONDS: Final = 1.0

_Permission = Annotated[str, msgspec.Meta(pattern=r"^(\*|([a-z_]+\.)+(\*|[a-z_]+))$")]


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    permissions: list[_Permission]


class ApiKeys:
    """The known keys, by the hash of each: the keys themselves are stored nowhere."""

    def __init__(self, callers: Mapping[str, Caller] | None = None, file: "KeyFile | None" = None) -> None:
        """Take callers by the SHA-256 of their keys, in lower-case hex; without any, nobody is known."""
        self._callers = dict(callers or {})
        self._file = file

    @classmethod
    def load(cls, path: Path, clock: Callable[[], float] = time.monotonic) -> Self:
        """Read `{"name": {"sha256": "<hex>", "permissions": ["profile.read", "segment.*", "*"]}}`.

        A change of the file is taken up within a second. Raises `ValueError` with the place of the
        mistake, `OSError` where the file can't be read.
        """
        file = KeyFile(path, clock)
        return cls(file.read(), file)

    def caller_of(self, authorization: str) -> Caller | None:
        """Return who sent `Bearer <key>`, or None where the key is unknown or there is none."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        changed = self._file.changed() if self._file else None
        if changed is not None:
            self._callers = changed
        # Looked up by its hash: how long that takes tells nothing about the keys that exist.
        return self._callers.get(hashlib.sha256(key.strip().encode()).hexdigest())


class KeyFile:
    """A file of API keys that may change while it is in use."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._seen = self._state()

    def read(self) -> dict[str, Caller]:
        """The callers in it. Raises `ValueError` and `OSError`."""
        try:
            keys = msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Key])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"API keys in {self._path}: {error}") from error
        callers: dict[str, Caller] = {}
        for name, key in keys.items():
            if key.sha256 in callers:
                other = callers[key.sha256].name
                raise ValueError(f"API keys in {self._path}: {name} and {other} share one key")
            callers[key.sha256] = Caller(name, frozenset(key.permissions))
        return callers

    def changed(self) -> dict[str, Caller] | None:
        """The callers in it where it has changed, looked at once a second; None where nothing is new.

        A file that can't be read changes nothing: a slip of the pen must not lock everybody out.
        """
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            callers = self.read()
        except (OSError, ValueError) as error:
            log.error("API keys not taken up", error=str(error))
            return None
        log.info("API keys taken up", keys=len(callers))
        return callers

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino


def admit(permission: str, authorization: str, keys: ApiKeys) -> Caller:
    """Return who calls a method that needs `permission`; anybody, even unknown, where that is `public`.

    Raises `Unauthenticated` without a known key, `PermissionDenied` where the key lacks the permission.
    """
    known = keys.caller_of(authorization) if authorization else None
    if permission == PUBLIC:
        return known or ANONYMOUS
    if known is None and not authorization:
        raise KeyMissing("an API key is needed: metadata `authorization: Bearer <key>`")
    if known is None:
        raise KeyUnknown("nobody has this API key; it is sent as metadata `authorization: Bearer <key>`")
    if not known.may(permission):
        raise PermissionDenied(
            f"the key {known.name} lacks the permission {permission}", permission=permission, key=known.name
        )
    return known


def all_services() -> list[str]:
    """The names in full of all services of the contracts."""
    found: list[str] = []
    for folder in tessera.__path__:
        for file in sorted(Path(folder).rglob("*_service_pb2.py")):
            name = ".".join(("tessera", *file.relative_to(folder).with_suffix("").parts))
            contract = importlib.import_module(name)
            found += [one.full_name for one in contract.DESCRIPTOR.services_by_name.values()]
    return found


def permissions_of(service: ServiceDescriptor) -> dict[str, str]:
    """Return the permission that each method needs, by its path, such as `/grpc.health.v1.Health/Check`.

    Raises `ValueError` for a method that names none, and for one that takes a stream, which the
    interceptors do not guard.
    """
    permissions = {}
    for method in service.methods:
        permission = method.GetOptions().Extensions[options_pb2.permission]
        if not permission:
            raise ValueError(f"{method.full_name} names no permission: set (tessera.options.v1.permission)")
        if method.client_streaming:
            raise ValueError(f"{method.full_name} takes a stream of requests, which is not supported")
        permissions[f"/{service.full_name}/{method.name}"] = permission
    return permissions


def permissions_of_all(services: Iterable[str]) -> dict[str, str]:
    """Return `permissions_of` for services named in full, such as `tessera.profile.v1.ProfileService`."""
    pool = descriptor_pool.Default()
    every: dict[str, str] = {}
    for name in services:
        every |= permissions_of(pool.FindServiceByName(name))
    return every
