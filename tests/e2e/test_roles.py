"""What `tessera up` grants, on a server of the tests'."""

import asyncpg
import pytest

from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.database.roles import prepare_database
from libs.database.schemas import SHARED_OWNER
from libs.messaging import schema as log_schema

PASSWORDS = {"ingest": "a'quoted\"one", "profile": "p-1"}


async def _prepared(postgres: EmbeddedPostgres, database: str) -> None:
    await prepare_database(postgres.url(), database, PASSWORDS)
    await migrate(postgres.url(database), log_schema.SCHEMA)


async def _as(postgres: EmbeddedPostgres, database: str, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host="127.0.0.1", port=postgres.port, database=database, user=role, password=PASSWORDS[role]
    )


async def test_a_role_makes_its_own_schema_and_can_t_read_another_s(postgres: EmbeddedPostgres) -> None:
    await _prepared(postgres, "roles_a")
    ingest, profile = await _as(postgres, "roles_a", "ingest"), await _as(postgres, "roles_a", "profile")
    try:
        await profile.execute("create schema profile; create table profile.people (name text)")

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ingest.fetch("select * from profile.people")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ingest.execute("create table profile.mine (a int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ingest.execute("alter role profile superuser")
    finally:
        await ingest.close()
        await profile.close()


async def test_all_roles_share_the_event_log(postgres: EmbeddedPostgres) -> None:
    await _prepared(postgres, "roles_b")
    connection = await _as(postgres, "roles_b", "ingest")
    try:
        await connection.execute(
            "insert into event_log.topics (name, partitions, retention) values ('t', 1, '1 day')"
        )
        owner = await connection.fetchval("select tableowner from pg_tables where schemaname = 'event_log'")
    finally:
        await connection.close()

    assert SHARED_OWNER == owner


async def test_preparing_again_changes_nothing_but_the_passwords(postgres: EmbeddedPostgres) -> None:
    await _prepared(postgres, "roles_c")
    connection = await _as(postgres, "roles_c", "profile")
    await connection.execute("create schema profile; create table profile.people (name text)")
    await connection.close()
    await prepare_database(postgres.url(), "roles_c", {**PASSWORDS, "profile": "p-2"})

    with pytest.raises(asyncpg.InvalidPasswordError):
        await _as(postgres, "roles_c", "profile")
    await prepare_database(postgres.url(), "roles_c", PASSWORDS)
    connection = await _as(postgres, "roles_c", "profile")
    people = await connection.fetchval("select count(*) from profile.people")
    await connection.close()

    assert 0 == people


async def test_strangers_can_t_even_connect(postgres: EmbeddedPostgres) -> None:
    await _prepared(postgres, "roles_d")
    admin = await asyncpg.connect(postgres.url())
    await admin.execute("create role stranger login password 'x'")
    await admin.close()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(
            host="127.0.0.1", port=postgres.port, database="roles_d", user="stranger", password="x"
        )


async def test_a_database_beside_one_with_roles_is_its_users_own(postgres: EmbeddedPostgres) -> None:
    await _prepared(postgres, "roles_e")
    admin = await asyncpg.connect(postgres.url())
    await admin.execute("create database roles_f")
    await admin.close()
    await migrate(postgres.url("roles_f"), log_schema.SCHEMA)
    connection = await asyncpg.connect(postgres.url("roles_f"))
    owner = await connection.fetchval("select tableowner from pg_tables where schemaname = 'event_log'")
    await connection.close()

    assert "postgres" == owner
