"""What clients send, wrong in ways that must cost itself alone; and what callers may ask for."""

import base64
from collections.abc import Iterator

import orjson
import pytest

from libs.messaging.topics import INGEST_IMPORTS
from libs.observability.traces import configure_traces, new_traceparent, stop_traces
from tessera.ingest.v1 import event_pb2, import_service_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1.rejection_service_pb2 import ListRejectedEventsRequest
from tessera.ingest.v1.source_service_pb2 import AddSourceKeyRequest
from tests.integration.ingest.conftest import BROWSER_KEY, SERVER_KEY, Ingest, open_ingest

_BASIC = (SERVER_KEY, "")
_GOOD = b'{"type":"track","event":"Bought","userId":"1","messageId":"good-%d","properties":{"n":1.10}}'
_BAD = b'{"type":"track","event":"Bought","userId":"2","messageId":"bad","properties":{"p":%b}}'

# Each the value of a property in an item of its own.
_UNREADABLE: dict[str, bytes] = {
    "lone surrogate": b'"\\ud800"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "raw control character": b'"a\x01b"',
    "raw line break": b'"a\nb"',
    "2,000 levels": b"[" * 2000 + b"]" * 2000,
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "a single quote": b"'x'",
    "a leading zero": b"007",
    "a comment": b"/* x */ 1",
    "a missing value": b"",
    "a bad escape": b'"\\x"',
    "a number beyond all": b"1e999",
}


@pytest.mark.parametrize("what", _UNREADABLE)
async def test_a_batch_in_which_one_event_holds_a_lone_surrogate_or_the_like_loses_that_one_alone(
    ingest: Ingest, what: str
) -> None:
    bad = _BAD % _UNREADABLE[what]
    body = b'{"sentAt":null,"batch":[%b, %b ,%b]}' % (_GOOD % 1, bad, _GOOD % 2)
    answer = await ingest.http.post("/v1/batch", content=body, auth=_BASIC)
    kept, _ = await ingest.rejections.page(1 << 62, 10, "")

    assert 200 == answer.status_code
    assert [(1, "bad")] == [(one["index"], one["messageId"]) for one in answer.json()["rejected"]]
    assert ["good-1", "good-2"] == sorted(event.message_id for event in await ingest.stored())
    assert [bad] == [one.rejected.body for one in kept]


async def test_names_that_stand_twice_cost_nobody_and_the_last_one_counts(ingest: Ingest) -> None:
    twice = b'{"type":"track","event":"Bought","userId":"2","userId":"3","messageId":"twice"}'
    body = b'{"batch":[],"batch":[%b,%b]}' % (_GOOD % 1, twice)
    answer = await ingest.http.post("/v1/batch", content=body, auth=_BASIC)

    assert {"success": True} == answer.json()
    assert {"good-1": "1", "twice": "3"} == {e.message_id: e.user_id for e in await ingest.stored()}


async def test_a_single_call_that_is_no_json_is_kept_with_its_reason(ingest: Ingest) -> None:
    body = b'{"writeKey":"%b","messageId":"m","userId":NaN}' % SERVER_KEY.encode()
    answer = await ingest.http.post("/v1/track", content=body)
    kept, _ = await ingest.rejections.page(1 << 62, 10, "")

    assert (400, "body") == (answer.status_code, answer.json()["field"])
    without_key = b'{"writeKey":"***","messageId":"m","userId":NaN}'
    assert [("shop", without_key)] == [(one.rejected.source_id, one.rejected.body) for one in kept]


async def test_what_is_left_out_of_an_event_is_told_by_http_and_grpc(ingest: Ingest) -> None:
    order = {
        "type": "track",
        "event": "Order Completed",
        "userId": "1",
        "messageId": "order",
        "properties": {"revenue": 5},
        "context": {"traits": {"email": "n/a"}},
    }
    alias = {"type": "alias", "userId": "1", "previousId": "2", "messageId": "alias"}
    by_http = await ingest.http.post("/v1/batch", json={"batch": [order, alias]}, auth=_BASIC)
    event = event_pb2.Event(
        type=event_pb2.EVENT_TYPE_IDENTIFY,
        user_id="1",
        message_id="identify",
        traits_json=b'{"email":"nobody","plan":"pro"}',
        consent={"email_marketing": False},
    )
    by_grpc = await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=SERVER_KEY, events=[event]))
    imported = await ingest.import_stub.ImportEvents(
        import_service_pb2.ImportEventsRequest(source_id="shop", events=[event])
    )
    stored = {event.message_id: event for event in await ingest.stored()}

    assert [(0, "order", "context.traits.email"), (1, "alias", "previousId")] == [
        (one["index"], one["messageId"], one["field"]) for one in by_http.json()["warnings"]
    ]
    assert ["MALFORMED", "ALIAS"] == [one["code"] for one in by_http.json()["warnings"]]
    assert [(0, "identify", "traits_json.email", "MALFORMED")] == [
        (one.index, one.message_id, one.field, one.code) for one in by_grpc.warnings
    ]
    assert by_grpc.warnings == imported.warnings
    assert b'{"revenue":5}' == stored["order"].properties_json
    assert {"email_marketing": False} == dict(stored["identify"].consent)
    assert b'{"plan":"pro"}' == stored["identify"].traits_json
    assert 1 == len(await ingest.stored(INGEST_IMPORTS))


async def test_category_integrations_and_channel_are_kept_with_the_event(ingest: Ingest) -> None:
    page = {
        "userId": "1",
        "name": "Home",
        "category": "Docs",
        "integrations": {"All": True},
        "channel": "web",
    }
    await ingest.http.post("/v1/page", json=page, auth=_BASIC)
    (stored,) = await ingest.stored()

    assert {"category": "Docs"} == orjson.loads(stored.properties_json)
    assert {"All": True} == orjson.loads(stored.integrations_json)
    assert "web" == stored.channel


async def test_jitsu_js_is_taken_with_a_key_that_holds_a_colon(ingest: Ingest) -> None:
    key = "id:secret"
    await ingest.source_stub.AddSourceKey(AddSourceKeyRequest(source_id="shop", write_key=key))
    call = {"type": "track", "event": "Bought", "userId": "1"}
    basic = base64.b64encode(key.encode()).decode()
    post = ingest.http.post
    answers = [
        await post(path, json=call, headers={"x-write-key": key})
        for path in ("/api/s/track", "/api/s/s2s/track", "/api/s/s2s/page", "/api/s/identify")
    ]
    answers += [
        await post("/api/s/s2s/batch", json={"batch": [call]}, headers={"x-write-key": key}),
        await post("/v1/track", json=call, headers={"authorization": f"Basic {basic}"}),
        await post("/v1/track", json=call, auth=(key, "")),
        await post("/v1/track", json=call, auth=(SERVER_KEY, "a password")),
        await post("/api/s/track", json=call, headers={"x-write-key": "id:other"}),
    ]

    assert [200] * 8 + [401] == [answer.status_code for answer in answers]


async def test_rejections_are_bounded_for_each_source_and_what_makes_room_is_told(database_url: str) -> None:
    async with open_ingest(database_url, kept=5) as ingest:
        bad = [{"type": "track", "messageId": f"{n}"} for n in range(8)]
        await ingest.http.post("/v1/track", json={"event": "x"}, auth=_BASIC)
        for part in (bad[:3], bad[3:4], bad[4:]):
            await ingest.http.post("/v1/batch", json={"batch": part}, auth=(BROWSER_KEY, ""))
        lists = [
            await ingest.rejection_stub.ListRejectedEvents(ListRejectedEventsRequest(source_id=source))
            for source in ("site", "shop", "")
        ]
        many = [{"type": "track", "messageId": f"many-{n}"} for n in range(20)]
        await ingest.http.post("/v1/batch", json={"batch": many}, auth=(BROWSER_KEY, ""))
        after, displaced = await ingest.rejections.page(1 << 62, 100, "site")

    kept = [orjson.loads(one.body)["messageId"] for one in lists[0].rejected_events]
    assert ["7", "6", "5", "4", "3"] == kept
    assert [3, 0, 3] == [answer.displaced_count for answer in lists]
    assert 1 == len(lists[1].rejected_events)
    assert (5, 23) == (len(after), displaced)


@pytest.fixture
def _tracing() -> Iterator[None]:
    configure_traces("ingest", "", ratio=0)
    yield
    stop_traces()


@pytest.mark.usefixtures("_tracing")
async def test_a_public_callers_traceparent_with_the_sampled_flag_is_held_to_the_ratio(
    ingest: Ingest,
) -> None:
    sampled = new_traceparent(sampled=True)
    event = event_pb2.Event(type=event_pb2.EVENT_TYPE_TRACK, name="Bought", user_id="1")
    traced = []
    for key in (BROWSER_KEY, SERVER_KEY):
        before = len(await ingest.records())
        call = {"event": "Bought", "userId": "1"}
        await ingest.http.post("/v1/track", json=call, auth=(key, ""), headers={"traceparent": sampled})
        request = pb.CollectEventsRequest(write_key=key, events=[event])
        await ingest.stub.CollectEvents(request, metadata=(("traceparent", sampled),))
        traced.append([headers.get("traceparent") for _, headers in (await ingest.records())[before:]])

    assert [[None, None], [sampled, sampled]] == traced
