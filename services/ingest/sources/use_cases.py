"""Tells who is at the door, and looks after sources and their keys."""

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from libs.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    Invalid,
    KeyMissing,
    KeyUnknown,
    Malformed,
    NotFound,
    Required,
    TooLarge,
)
from libs.ids import check_request_id
from services.ingest.sources.model import MOST_KEYS, Key, Source, SourceVersion
from services.ingest.sources.ports import KnownSources, SourceChange, Sources

_SOURCE_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# A colon at the end is HTTP Basic's.
_WRITE_KEY: Final = re.compile(r"([!-~]{0,199}[!-9;-~])?")
_MOST_NAME = 200
_MOST_PURPOSES = 20
_MOST_TEXT = 255
# What we send as ourselves: nobody else may.
_RESERVED: Final = frozenset({"unsubscribe-page"})


class Authenticator:
    """Tells which source a caller is."""

    def __init__(self, known: KnownSources) -> None:
        self._known = known

    async def by_key(self, *write_keys: str) -> Source:
        """The source that a key belongs to; of several that a caller may mean, the first that is known."""
        meant = [key for key in write_keys if key]
        if not meant:
            raise KeyMissing("a write key is needed: that of a source")
        source = await self._known.by_key(meant)
        if source is None:
            raise KeyUnknown("no source has this write key")
        return source

    async def by_id(self, source_id: str) -> Source:
        """A source that a trusted caller names."""
        if not source_id:
            raise Required("source_id", "is required")
        source = await self._known.by_id(source_id)
        if source is None:
            raise NotFound(f"there is no source {source_id}", source_id=source_id)
        return source


class SourceAdministration:
    """Looks after sources."""

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock

    async def create(
        self, source: Source, write_key: str = "", request_id: str = "", validate_only: bool = False
    ) -> Source:
        """Store a new source with a first key; the same request again returns what the first made."""
        _check_source(source)
        _check_key(write_key)
        check_request_id(request_id)
        wanted = replace(source, request_id=request_id)
        async with self._sources.change() as change:
            existing = await change.lock(source.source_id)
            if existing is None and not validate_only:
                created = await self._insert(change, wanted, write_key)
                if created is not None:
                    return created
                existing = await change.lock(source.source_id)
        if existing is None:
            return wanted
        if request_id and existing.request_id == request_id:
            return existing
        raise AlreadyExists(f"there is a source {source.source_id}", source_id=source.source_id)

    async def get(self, source_id: str) -> Source:
        """A source with its keys."""
        return _found(await self._sources.get(source_id), source_id)

    async def page(self, after: str, limit: int) -> Sequence[Source]:
        """Sources behind an id, by id."""
        return await self._sources.page(after, limit)

    async def versions(self, source_id: str, before: int, limit: int) -> Sequence[SourceVersion]:
        """What a source's settings were, newest first."""
        _found(await self._sources.get(source_id), source_id)
        return await self._sources.versions(source_id, before, limit)

    async def update(
        self,
        source_id: str,
        changed: Callable[[Source | None], Source],
        allow_missing: bool = False,
        validate_only: bool = False,
    ) -> Source:
        """Store what `changed` makes of a source, or of none where that is allowed."""
        async with self._sources.change() as change:
            stored = await change.lock(source_id)
            if stored is None and not allow_missing:
                _found(stored, source_id)
            wanted = changed(stored)
            _check_source(wanted)
            if stored is None:
                if validate_only:
                    return wanted
                created = await self._insert(change, wanted, "")
                if created is None:
                    raise Conflict(f"somebody else makes the source {source_id}", source_id=source_id)
                return created
            if wanted.trusted != stored.trusted:
                raise Invalid("source.kind", "does not change: make another source")
            if wanted == stored or validate_only:
                return wanted
            wanted = replace(wanted, version=stored.version + 1, updated=self._now())
            await change.update(wanted)
            return wanted

    async def delete(
        self, source_id: str, allow_missing: bool, check: Callable[[Source], None] = lambda _: None
    ) -> None:
        """Remove a source for which `check` does not raise."""
        async with self._sources.change() as change:
            stored = await change.lock(source_id)
            if stored is None:
                if not allow_missing:
                    _found(stored, source_id)
                return
            check(stored)
            await change.delete(source_id)

    async def add_key(self, source_id: str, write_key: str = "", request_id: str = "") -> Source:
        """Add a key beside the one that is there; the same request again adds none."""
        _check_key(write_key)
        check_request_id(request_id)
        async with self._sources.change() as change:
            stored = _found(await change.lock(source_id), source_id)
            if request_id and any(key.request_id == request_id for key in stored.keys):
                return stored
            if len(stored.keys) >= MOST_KEYS:
                raise FailedPrecondition(
                    f"source {source_id} has {MOST_KEYS} keys: remove one first", source_id=source_id
                )
            return await self._with_key(change, stored, write_key, request_id)

    async def remove_key(self, source_id: str, key_id: str) -> Source:
        """Remove a key; the last one stays."""
        async with self._sources.change() as change:
            stored = _found(await change.lock(source_id), source_id)
            left = tuple(key for key in stored.keys if key.key_id != key_id)
            if len(left) == len(stored.keys):
                raise NotFound(f"source {source_id} has no key {key_id}", source_id=source_id, key_id=key_id)
            if not left:
                raise FailedPrecondition(
                    f"it is the only key of source {source_id}: add another first", source_id=source_id
                )
            await change.remove_key(source_id, key_id)
            return replace(stored, keys=left)

    async def _insert(self, change: SourceChange, source: Source, write_key: str) -> Source | None:
        """Add a source with a first key; None where there is one of this id."""
        now = self._now()
        made = replace(source, keys=(), version=1, created=now, updated=now)
        if not await change.insert(made):
            return None
        return await self._with_key(change, made, write_key, source.request_id)

    async def _with_key(
        self, change: SourceChange, source: Source, write_key: str, request_id: str
    ) -> Source:
        key = Key(secrets.token_hex(6), write_key or secrets.token_urlsafe(24), self._now(), request_id)
        if not await change.add_key(source.source_id, key):
            raise AlreadyExists("some source has this write key already", source_id=source.source_id)
        return replace(source, keys=(*source.keys, key))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


def _found(source: Source | None, source_id: str) -> Source:
    if not source_id:
        raise Required("source_id", "is required")
    if source is None:
        raise NotFound(f"there is no source {source_id}", source_id=source_id)
    return source


def _check_source(source: Source) -> None:
    if not source.source_id:
        raise Required("source.source_id", "is required")
    if not _SOURCE_ID.fullmatch(source.source_id):
        raise Malformed("source.source_id", "must be lower-case letters, digits, - and _, at most 63")
    if source.source_id in _RESERVED:
        raise Invalid("source.source_id", "is Tessera's own")
    if len(source.display_name) > _MOST_NAME:
        raise TooLarge("source.display_name", f"has more than {_MOST_NAME} characters")
    if "\0" in source.display_name:
        raise Invalid("source.display_name", "contains the character U+0000")
    if len(source.default_consent) > _MOST_PURPOSES:
        raise TooLarge("source.default_consent", f"names more than {_MOST_PURPOSES} purposes")
    if any(not 1 <= len(purpose) <= _MOST_TEXT or "\0" in purpose for purpose in source.default_consent):
        raise Invalid(
            "source.default_consent", f"must name purposes by 1 to {_MOST_TEXT} characters, without U+0000"
        )


def _check_key(write_key: str) -> None:
    if not _WRITE_KEY.fullmatch(write_key):
        raise Invalid("write_key", "must be at most 200 visible ASCII characters, the last of them no colon")
