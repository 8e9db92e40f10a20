"""The tracking API through a real server, as the SDKs use it."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.messaging import schema as log_schema
from services.ingest.sources.model import Source
from services.ingest.sources.sql import SqlSources
from services.ingest.sources.use_cases import SourceAdministration
from services.ingest.tracking.model import MOST_BATCH_BYTES
from tessera.ingest.v1.event_pb2 import SOURCE_KIND_BROWSER
from tests.builders import micros
from tests.integration.ingest.conftest import BROWSER_KEY, SERVER_KEY, Ingest, open_ingest
from tests.integration.messaging.harness import until

_BASIC = (SERVER_KEY, "")
_TRACK = {"event": "Order Completed", "userId": "1", "messageId": "m"}


def _batch(*calls: Any, **more: Any) -> bytes:
    return orjson.dumps({"batch": calls, **more})


async def _post(ingest: Ingest, path: str, body: Any, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return await ingest.http.post(path, content=content, **{"auth": _BASIC, **options})


_CALLS: dict[str, tuple[dict[str, Any], int]] = {
    "identify": ({"traits": {"n": 2**53 + 1}}, 1),
    "track": ({"event": "Bought"}, 2),
    "page": ({"name": "Home"}, 3),
    "screen": ({"name": "Home"}, 4),
    "group": ({"groupId": "g"}, 5),
    "alias": ({"previousId": "a"}, 6),
}


async def test_every_call_is_stored_whichever_way_it_is_spelled(ingest: Ingest) -> None:
    sent, answers = [], []
    for name, (call, type_) in _CALLS.items():
        for path in (f"/v1/{name}", f"/v1/{name[0]}", "/v1/batch", "/v1/b", "/beacon/v1/batch"):
            one = {**call, "type": name, "userId": "1", "messageId": f"{name} {path}"}
            is_batch = path.endswith(("batch", "/b"))
            answers.append(await _post(ingest, path, _batch(one) if is_batch else one))
            sent.append((f"{name} {path}", type_))

    assert {(200, True)} == {(answer.status_code, answer.json()["success"]) for answer in answers}
    assert sorted(sent) == sorted((event.message_id, event.type) for event in await ingest.stored())


_KEY_FORMS: dict[str, dict[str, Any]] = {
    "Basic": {"auth": (SERVER_KEY, "")},
    "Basic without a colon": {"headers": {"authorization": "basic c2VydmVyLWtleQ=="}},
    "query": {"params": {"writeKey": SERVER_KEY}},
    "body": {},
    "body beside Bearer": {"headers": {"authorization": "Bearer whatever"}},
    "body beside Basic with an empty user": {"headers": {"authorization": "Basic Og=="}},
}


async def test_a_write_key_comes_in_any_of_the_forms_that_sdks_use(ingest: Ingest) -> None:
    answers = []
    for form, options in _KEY_FORMS.items():
        key = {"writeKey": SERVER_KEY} if form.startswith("body") else {}
        call = {"type": "track", **_TRACK, **key}
        for path, body in (("/v1/track", call), ("/v1/batch", {"batch": [call], **key})):
            answer = await ingest.http.post(path, content=orjson.dumps(body), **options)
            answers.append((form, path, answer.status_code))

    assert [(form, path, 200) for form in _KEY_FORMS for path in ("/v1/track", "/v1/batch")] == answers
    assert len(answers) == len(await ingest.stored())


async def test_an_unknown_key_is_a_401_that_is_not_sent_again(ingest: Ingest) -> None:
    for authorization in ("", "Basic !", "Basic /w==", "Basic eA==", "Bearer x"):
        headers = {"authorization": authorization} if authorization else {}
        answer = await ingest.http.post("/v1/track", content=orjson.dumps(_TRACK), headers=headers)

        assert 401 == answer.status_code, authorization
        assert {"success", "code", "message"} == set(answer.json())
    assert [] == await ingest.stored()


async def test_a_key_that_was_just_made_elsewhere_is_known(ingest: Ingest) -> None:
    await _post(ingest, "/v1/track", _TRACK)
    await SourceAdministration(SqlSources(ingest.database)).create(Source("new", True), "new-key")

    async def known() -> bool:
        return (await _post(ingest, "/v1/track", _TRACK, auth=("new-key", ""))).status_code == 200

    await until(known, 3, "the new key")

    assert "new" == (await ingest.stored())[-1].source_id


_GZIP = {"content-encoding": "gzip"}
_REFUSED: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "no JSON": ("/v1/track", b"{", {}, "body"),
    "no object": ("/v1/batch", b"[]", {}, "body"),
    "no batch": ("/v1/batch", b"{}", {}, "body"),
    "an empty batch": ("/v1/batch", _batch(), {}, "events"),
    "too many events": ("/v1/batch", _batch(*[{}] * 2501), {}, "events"),
    "a large body": ("/v1/batch", b" " * (MOST_BATCH_BYTES + 1), {}, "body"),
    "a large event": ("/v1/track", orjson.dumps({**_TRACK, "x": "x" * 32_768}), {}, "body"),
    "no event": ("/v1/track", orjson.dumps({"userId": "1"}), {}, "event"),
    "nobody": ("/v1/track", orjson.dumps({"event": "x"}), {}, "userId"),
    "deep": ("/v1/track", b'{"properties":' + b"[" * 9000, {}, "body"),
    "no gzip": ("/v1/track", b"{}", _GZIP, "body"),
    "half a gzip": (
        "/v1/track",
        gzip.compress(orjson.dumps(_TRACK))[:-8],
        {"content-encoding": "gzip"},
        "body",
    ),
    "two gzips": ("/v1/track", gzip.compress(b"{}") * 2, _GZIP, "body"),
    "a bomb": ("/v1/batch", gzip.compress(b" " * 50_000_000), _GZIP, "body"),
}


async def test_what_is_wrong_is_a_400_with_a_code_a_message_and_the_field(ingest: Ingest) -> None:
    for what, (path, body, headers, field) in _REFUSED.items():
        answer = await _post(ingest, path, body, headers=headers)

        assert (400, field) == (answer.status_code, answer.json().get("field")), what
        assert {"success", "code", "message", "field"} == set(answer.json())
    assert [] == await ingest.stored()


async def test_an_unknown_path_or_method_has_a_code_and_a_message_too(ingest: Ingest) -> None:
    answers = [await ingest.http.post("/v1/nothing"), await ingest.http.get("/v1/batch")]

    assert [404, 405] == [answer.status_code for answer in answers]
    assert all({"success", "code", "message"} == set(answer.json()) for answer in answers)


async def test_gzip_is_taken_whatever_the_content_type_says(ingest: Ingest) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/x-www-form-urlencoded"}
    answer = await _post(
        ingest, "/v1/batch", gzip.compress(_batch({"type": "track", **_TRACK})), headers=headers
    )

    assert 200 == answer.status_code
    assert 1 == len(await ingest.stored())


async def test_a_full_batch_is_stored_whole(ingest: Ingest) -> None:
    calls = [{"type": "page", "userId": f"{n}", "messageId": f"{n}"} for n in range(2500)]
    answer = await _post(ingest, "/v1/batch", _batch(*calls))

    assert {"success": True} == answer.json()
    assert {f"{n}" for n in range(2500)} == {event.message_id for event in await ingest.stored()}


async def test_what_is_wrong_in_a_batch_is_rejected_alone_and_kept_with_its_reason(ingest: Ingest) -> None:
    calls = [
        {"type": "track", **_TRACK},
        {"type": "track", "userId": "1", "messageId": "nameless"},
        {"type": "identify", "userId": "1", "messageId": "m2", "traits": {"a": ["\0"]}},
        {"type": "page", "userId": "1", "messageId": "fine"},
    ]
    raw = _batch(*calls)[:-2] + b',{"userId":true},"\xff"]}'
    answer = await _post(ingest, "/v1/batch", raw)
    kept, _ = await ingest.rejections.page(1 << 62, 10, "")

    assert 200 == answer.status_code
    assert [(1, "nameless", "event"), (2, "m2", "traits.a[0]"), (4, "", "userId"), (5, "", "body")] == [
        (r["index"], r["messageId"], r["field"]) for r in answer.json()["rejected"]
    ]
    assert ["fine", "m"] == sorted(event.message_id for event in await ingest.stored())
    assert [b'"\xff"', b'{"userId":true}'] == [k.rejected.body for k in kept[:2]]
    assert ["body", "userId", "traits.a[0]", "event"] == [k.rejected.field for k in kept]
    assert ["REQUIRED", "INVALID", "MALFORMED", "MALFORMED"] == [r["code"] for r in answer.json()["rejected"]]
    assert {"shop"} == {k.rejected.source_id for k in kept}


async def test_the_batchs_context_consent_and_clock_count_for_each_event(ingest: Ingest) -> None:
    granting = {"categoryPreferences": {"analytics": True}}
    calls = [
        {"type": "track", **_TRACK, "messageId": "a", "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "track", **_TRACK, "messageId": "b", "context": {"ip": "2.2.2.2", "consent": granting}},
        {"type": "track", **_TRACK, "messageId": "c", "context": {"consent": None}},
    ]
    context = {"ip": "1.1.1.1", "consent": {"categoryPreferences": {"analytics": False}}}
    before = micros()
    await _post(ingest, "/v1/batch", _batch(*calls, context=context, sentAt="2026-01-01T00:00:10Z"))
    denied, granted, silent = sorted(await ingest.stored(), key=lambda event: event.message_id)
    happened = denied.event_time.seconds * 1_000_000 + denied.event_time.nanos // 1000

    assert (7, b"", {"analytics": False}) == (denied.type, denied.context_json, dict(denied.consent))
    assert 2 == granted.type
    assert {"ip": "2.2.2.2", "consent": granting} == orjson.loads(granted.context_json)
    assert {"analytics": False} == dict(silent.consent)
    assert before - 11_000_000 < happened < micros() - 9_000_000


async def test_a_browser_that_asks_first_may_send_from_any_page(ingest: Ingest) -> None:
    asked = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    preflight = await ingest.http.options("/v1/t", headers=asked)
    headers = {"origin": "https://shop.example", "content-type": "text/plain"}
    sent = await _post(ingest, "/v1/t", _TRACK, headers=headers, auth=(BROWSER_KEY, ""))
    refused = await _post(ingest, "/v1/t", _TRACK, headers=headers, auth=("wrong", ""))

    assert 200 == preflight.status_code
    assert "*" == preflight.headers["access-control-allow-origin"]
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert ["*", "*"] == [a.headers["access-control-allow-origin"] for a in (sent, refused)]
    assert [SOURCE_KIND_BROWSER] == [event.source_kind for event in await ingest.stored()]


async def test_without_its_database_it_answers_503_and_when_to_come_back(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings={"fsync": "off"})
    await server.start()
    try:
        await migrate(server.url(), log_schema.SCHEMA)
        async with open_ingest(server.url()) as ingest:
            await _post(ingest, "/v1/track", _TRACK)
            await server.stop()
            body = {**_TRACK, "messageId": "again"}
            away = await _post(ingest, "/v1/track", body)
            half_wrong = await _post(ingest, "/v1/batch", _batch({"type": "track", **body}, {"type": "x"}))
            await server.start()
            back = await _post(ingest, "/v1/track", body)
            stored = await ingest.stored()
    finally:
        await server.stop()

    assert [503, 503, 200] == [answer.status_code for answer in (away, half_wrong, back)]
    assert "2" == away.headers["retry-after"]
    assert {"success", "code", "message"} == set(away.json())
    assert ["again", "m"] == sorted(event.message_id for event in stored)


async def test_an_acknowledgement_that_lies(ingest: Ingest) -> None:
    """No answer before the commit; where the commit fails, the answer is no success."""
    async with ingest.database.begin() as blocker:
        await blocker.execute("select 1 from event_log.partitions for update")
        sending = asyncio.create_task(_post(ingest, "/v1/track", _TRACK))

        async def waits() -> bool:
            return bool(await ingest.database.pool.fetchval(_WAITING))

        await until(waits, 10, "a transaction that waits for the log")
        answered_early = sending.done()
        await blocker.execute(f"select pg_terminate_backend(pid) from ({_WAITING}) as waiting")
        answer = await sending
    stored_before = await ingest.stored()
    again = await _post(ingest, "/v1/track", _TRACK)

    assert not answered_early
    assert 503 == answer.status_code
    assert [] == stored_before
    assert 200 == again.status_code
    assert ["m"] == [event.message_id for event in await ingest.stored()]


_WAITING = (
    "select pid from pg_stat_activity where datname = current_database() "
    "and wait_event_type = 'Lock' and query like '%event_log.partitions%'"
)


async def test_a_call_that_was_cancelled_is_stored_at_most_once_more(ingest: Ingest) -> None:
    async with ingest.database.begin() as blocker:
        await blocker.execute("select 1 from event_log.partitions for update")
        with pytest.raises(httpx.ReadTimeout):
            await _post(ingest, "/v1/track", _TRACK, timeout=0.3)
    await _post(ingest, "/v1/track", _TRACK)
    stored = await ingest.stored()

    assert {"m"} == {event.message_id for event in stored}
    assert 1 == len({event.event_id for event in stored})


async def test_a_batch_of_many_small_events_does_not_multiply_its_context(ingest: Ingest) -> None:
    calls = [{"type": "track", **_TRACK, "messageId": f"{n}"} for n in range(500)]
    answer = await _post(ingest, "/v1/batch", _batch(*calls, context={"text": "x" * 300_000}))

    assert 500 == len(answer.json()["rejected"])
    assert [] == await ingest.stored()
