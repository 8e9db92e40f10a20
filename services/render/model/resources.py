"""Templates and campaigns alike: created, changed, deleted, and each change a version of its own."""

import re
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, Self, TypeVar

from libs.errors import AlreadyExists, Contended, Malformed, NotFound, Required
from libs.etags import check_etag
from libs.ids import check_request_id

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# Somebody else's change came between so often: then the caller may try again.
_TRIES = 3


class Resource(Protocol):
    """One version of something that is kept under an id."""

    @property
    def version(self) -> int:
        """From 1; 0 where it is not stored."""

    @property
    def etag(self) -> str:
        """Another one with each version."""

    def says_the_same(self, other: Self) -> bool:
        """Whether both are alike in all that a caller can set."""


R = TypeVar("R", bound=Resource)


class Store(Protocol[R]):
    """Where versions are kept. A deleted resource keeps its versions, and goes on counting."""

    async def get(self, resource_id: str, version: int = 0) -> R | None:
        """One version, also of a deleted resource; or the newest, of one that is there."""

    async def made_by(self, resource_id: str, request_id: str) -> R | None:
        """The version that a request has made, of a resource that is there."""

    async def put(self, resource: R, expected: int, request_id: str) -> R | None:
        """Store a new version in place of version `expected`, 0 for a new resource.

        None, and nothing is stored, where another version is there.
        """

    async def delete(self, resource_id: str, expected: int) -> bool:
        """Delete the resource; False, and nothing is done, where it is not at version `expected`."""

    async def page(self, after: str, limit: int) -> list[R]:
        """The newest versions of the next resources by id, without what is long."""

    async def versions(self, resource_id: str, below: int, limit: int) -> list[R]:
        """The next older versions, without what is long."""


def checked_id(field: str, value: str) -> str:
    """An id; Invalid where it can't be one."""
    if not value:
        raise Required(field, "is required")
    if not _ID.fullmatch(value):
        raise Malformed(field, "must be lower-case letters, digits, - and _, at most 63")
    return value


class Resources(Generic[R]):
    """Resources of one kind, checked by who uses this before they are stored."""

    def __init__(self, store: Store[R], noun: str) -> None:
        self._store = store
        self._noun = noun

    async def get(self, resource_id: str, version: int = 0) -> R:
        """One version, or the newest; NotFound where there is none."""
        found = await self._store.get(resource_id, version) if version >= 0 else None
        if found is None:
            named = f"{resource_id} version {version}" if version else resource_id
            raise NotFound(f"there is no such {self._noun}: {named}", **{f"{self._noun}_id": resource_id})
        return found

    async def page(self, after: str, limit: int) -> tuple[list[R], bool]:
        """The next resources by id, and whether there are more."""
        found = await self._store.page(after, limit + 1)
        return found[:limit], len(found) > limit

    async def versions(self, resource_id: str, below: int, limit: int) -> tuple[list[R], bool]:
        """The next older versions, and whether there are more."""
        found = await self._store.versions(resource_id, below, limit + 1)
        return found[:limit], len(found) > limit

    async def create(self, resource_id: str, resource: R, request_id: str, validate_only: bool) -> R:
        """Store a new resource; AlreadyExists, unless this request has made the one that is there."""
        made = await self._made_by(resource_id, request_id)
        if made is not None:
            return made
        if validate_only:
            if await self._store.get(resource_id) is not None:
                raise self._exists(resource_id)
            return resource
        stored = await self._store.put(resource, 0, request_id)
        if stored is None:
            made = await self._made_by(resource_id, request_id)
            if made is None:
                raise self._exists(resource_id)
            return made
        return stored

    async def update(
        self,
        resource_id: str,
        change: Callable[[R | None], Awaitable[R]],
        etag: str,
        allow_missing: bool,
        request_id: str,
        validate_only: bool,
    ) -> R:
        """Store what `change` makes of the newest version, None for a missing one, unless it is the same."""
        made = await self._made_by(resource_id, request_id)
        if made is not None:
            return made
        for _ in range(_TRIES):
            stored = await self._store.get(resource_id)
            if stored is None and not allow_missing:
                await self.get(resource_id)
            self._check_etag(resource_id, etag, stored)
            changed = await change(stored)
            if stored is not None and changed.says_the_same(stored):
                return stored
            if validate_only:
                return changed
            put = await self._store.put(changed, stored.version if stored else 0, request_id)
            if put is not None:
                return put
        raise Contended(f"{self._noun} {resource_id} is being changed by others")

    async def delete(self, resource_id: str, etag: str, allow_missing: bool) -> None:
        """Delete the resource; NotFound where there is none, unless that is allowed."""
        for _ in range(_TRIES):
            stored = await self._store.get(resource_id)
            if stored is None:
                if allow_missing:
                    return
                await self.get(resource_id)
                continue
            self._check_etag(resource_id, etag, stored)
            if await self._store.delete(resource_id, stored.version):
                return
        raise Contended(f"{self._noun} {resource_id} is being changed by others")

    async def _made_by(self, resource_id: str, request_id: str) -> R | None:
        check_request_id(request_id)
        return await self._store.made_by(resource_id, request_id) if request_id else None

    def _check_etag(self, resource_id: str, etag: str, stored: R | None) -> None:
        check_etag(etag, stored.etag if stored else "", f"{self._noun} {resource_id}")

    def _exists(self, resource_id: str) -> AlreadyExists:
        return AlreadyExists(
            f"there is a {self._noun} {resource_id} already", **{f"{self._noun}_id": resource_id}
        )
