"""Segment's JSON as the SDKs send it, and as nobody should."""

import pytest

from libs.errors import Invalid
from libs.tracking.calls import Batch, Call, decode_batch, decode_call, decode_file_call


def _call(body: bytes, kind: str = "", context: bytes = b"") -> Call:
    return decode_call(body, kind, Batch((), context=context))


def _problem(body: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        decode_call(body)
    return caught.value.field


def test_a_call_is_read_by_its_type_or_by_its_endpoint() -> None:
    body = b'{"event":"Bought","name":"Home","userId":7,"anonymousId":null,"messageId":"m","unknown":[1]}'

    assert "Bought" == _call(body, "track").name
    assert "Home" == _call(body, "page").name
    assert ("7", None) == (_call(body, "track").user_id, _call(body, "track").anonymous_id)


def test_a_user_id_keeps_every_digit() -> None:
    assert "123456789012345678901234567890" == _call(b'{"userId":123456789012345678901234567890}').user_id


def test_of_a_name_that_stands_twice_the_last_one_counts() -> None:
    assert "2" == _call(b'{"userId":"1","userId":"2"}').user_id


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-01-31T12:00:00.123456Z", 1769860800123456),
        ("2026-01-31T12:00:00.123Z", 1769860800123000),
        ("2026-01-31T13:00:00+01:00", 1769860800000000),
        ("2026-01-31T12:00:00", 1769860800000000),
        ("1969-12-31T23:59:59Z", -1000000),
        ("2026-01-31 12:00:00Z", 1769860800000000),
        ("2026-01-31t12:00:00+00:00", 1769860800000000),
        ("20260131T120000Z", 1769860800000000),
        ("2026-W05-6T12:00:00Z", 1769860800000000),
        ("2026-01-31", 1769817600000000),
        ("20260131", 1769817600000000),
        ("2026-01-31T12:00:00Z[UTC]", 1769860800000000),
        ("2026-01-31T13:00:00.000+01:00[Europe/Berlin]", 1769860800000000),
    ],
)
def test_times_are_iso_8601(text: str, micros: int) -> None:
    assert micros == _call(b'{"timestamp":"%b"}' % text.encode()).time


def test_the_original_timestamp_goes_before_the_corrected_one() -> None:
    body = b'{"timestamp":"2026-01-01T00:00:00Z","originalTimestamp":"1970-01-01T00:00:01Z"}'

    assert 1_000_000 == _call(body).time


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body", b"nothing"),
        ("body", b"[]"),
        ("body", b"\xff"),
        ("body", b'{"userId":"\\ud800"}'),
        ("body", b'{"anonymousId":[],"userId":"\xff"}'),
        ("anonymousId", b'{"anonymousId":[],"userId":"\\ud800"}'),
        ("anonymousId", b'{"anonymousId":[],"x":NaN}'),
        ("body", b'{"properties":' + b"[" * 9000 + b"]" * 9000 + b"}"),
        ("userId", b'{"userId":' + b"9" * 5000 + b"}"),
        ("userId", b'{"userId":1.5}'),
        ("userId", b'{"userId":true}'),
        ("event", b'{"event":1}'),
        ("timestamp", b'{"timestamp":"yesterday"}'),
        ("timestamp", b'{"timestamp":1700000000}'),
        ("timestamp", b'{"timestamp":"2026-01-31+02:00"}'),
        ("timestamp", b'{"timestamp":"20260131+02:00"}'),
        ("timestamp", b'{"timestamp":"2026-01-31T12:00:00[Europe/Berlin]"}'),
        ("timestamp", b'{"timestamp":"2026-01-31T12:00:00Z[UTC][UTC]"}'),
        ("timestamp", b'{"timestamp":7,"originalTimestamp":"yesterday"}'),
        ("timestamp", b'{"timestamp":"yesterday","originalTimestamp":7}'),
        ("anonymousId", b'{"anonymousId":1.5}'),
        ("previousId", b'{"type":"alias","userId":"1","previousId":[]}'),
        ("userId", b'{"type":"alias","userId":[],"previousId":"a"}'),
        ("groupId", b'{"type":"group","userId":"1","groupId":{}}'),
        ("type", b'{"type":7,"userId":"1"}'),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_by_the_name_of_the_field(field: str, body: bytes) -> None:
    assert field == _problem(body)


@pytest.mark.parametrize(
    "text", [rb"\ud800", rb"x\ud800y", rb"\udc00", rb"\udc00\ud800"], ids=lambda raw: raw.decode()
)
def test_half_of_a_character_is_told_as_what_it_is(text: bytes) -> None:
    bodies = [b'{"userId":"%s"}' % text, b'{"traits":{"email":"%s"}}' % text]

    for body in bodies:
        with pytest.raises(Invalid, match="half of a character"):
            decode_call(body)
    with pytest.raises(Invalid, match="truncated"):
        decode_call(rb'{"userId":"\ud83d\ude00')


def test_the_batchs_context_lies_below_each_events_own_and_keeps_every_digit() -> None:
    below = b'{"ip":"1.2.3.4","big":18446744073709551617}'
    event = _call(b'{"userId":"1","context":{"ip":"5.6.7.8"}}', context=below)

    assert b'{"ip":"5.6.7.8","big":18446744073709551617}' == event.context


def test_a_context_that_is_no_object_is_left_to_the_checks() -> None:
    assert b"[1]" == _call(b'{"context":[1]}', context=b'{"a":1}').context
    assert b"[1]" == _call(b'{"context":{"b":1}}', context=b"[1]").context


def test_traits_in_the_context_are_an_identifys_traits_digit_for_digit() -> None:
    body = b'{"type":"identify","context":{"traits":{"n":18446744073709551617,"p":1.10}}}'

    assert b'{"n":18446744073709551617,"p":1.10}' == _call(body).traits
    assert b"" == _call(body.replace(b"identify", b"track")).traits


def test_traits_of_its_own_go_before_those_in_the_context() -> None:
    body = b'{"type":"identify","traits":{"a":1},"context":{"traits":{"b":2}}}'

    assert b'{"a":1}' == _call(body).traits


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"batch":1}', b'{"batch":[' + b"[" * 100_000])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_batch(body)


_BOTH = b'"timestamp":"2026-01-01T00:00:00Z","originalTimestamp":"2026-01-10T00:00:00Z"'


@pytest.mark.parametrize(
    ("library", "day"),
    [("@rudderstack/rudder-sdk-node", 1), ("@segment/analytics-node", 10), ("", 10)],
)
def test_rudder_sdk_nodes_explicit_timestamp_is_what_the_caller_said(library: str, day: int) -> None:
    body = b'{%b,"context":{"library":{"name":"%b"}}}' % (_BOTH, library.encode())
    call = _call(body)

    assert call.time is not None
    assert day == 1 + (call.time // 1_000_000 - 1_767_225_600) // 86_400


def test_rudder_sdk_nodes_original_timestamp_counts_where_the_caller_gave_none() -> None:
    context = b'{"library":{"name":"@rudderstack/rudder-sdk-node"}}'

    assert 1_000_000 == _call(b'{"originalTimestamp":"1970-01-01T00:00:01Z"}', context=context).time


def test_the_batchs_context_tells_the_library_too() -> None:
    context = b'{"library":{"name":"@rudderstack/rudder-sdk-node"}}'

    assert 1_767_225_600_000_000 == _call(b"{%b}" % _BOTH, context=context).time
    assert 1_768_003_200_000_000 == _call(b"{%b}" % _BOTH, context=b'{"library":7}').time


@pytest.mark.parametrize(
    ("kind", "body", "properties"),
    [
        ("page", b'{"category":"Docs"}', b'{"category":"Docs"}'),
        ("screen", b'{"category":"Docs","properties":{"n":1.10}}', b'{"category":"Docs","n":1.10}'),
        ("page", b'{"category":"Docs","properties":{"category":"own"}}', b'{"category":"own"}'),
        ("page", b'{"category":null,"properties":{"n":1}}', b'{"n":1}'),
        ("track", b'{"category":"Docs","properties":{"n":1}}', b'{"n":1}'),
    ],
)
def test_page_and_screen_with_a_category_at_the_top_level_keep_it(
    kind: str, body: bytes, properties: bytes
) -> None:
    assert properties == _call(body, kind).properties


def test_integrations_and_channel_are_kept_and_a_batchs_lie_below() -> None:
    batch = Batch((), integrations=b'{"All":false,"Mixpanel":true}')
    call = decode_call(b'{"channel":"server","integrations":{"All":true}}', "track", batch)
    odd = _call(b'{"channel":7}')

    assert (b'{"All":true,"Mixpanel":true}', "server") == (call.integrations, call.channel)
    assert (None, ["channel"]) == (odd.channel, [one.field for one in odd.left_out])


def test_a_mark_of_byte_order_is_no_fault() -> None:
    assert "1" == _call(b'\xef\xbb\xbf{"userId":"1"}').user_id
    assert [b"{}"] == decode_batch(b'\xef\xbb\xbf{"batch":[{}]}').calls


def _left_out(call: Call) -> list[str]:
    return [one.field for one in call.left_out]


@pytest.mark.parametrize("nothing", [b"[]", b'""', b"null", b"[ ]"])
def test_what_says_nothing_in_the_place_of_an_object_hides_nothing(nothing: bytes) -> None:
    body = b'{"userId":"1","context":%b,"properties":%b,"traits":%b,"integrations":%b}' % ((nothing,) * 4)
    full = b'{"a":1}'
    below = decode_call(body, "track", Batch((), context=full, integrations=full))
    above = decode_call(
        body.replace(nothing, full), "track", Batch((), context=nothing, integrations=nothing)
    )

    assert (full, b"", b"", full) == (below.context, below.properties, below.traits, below.integrations)
    assert (full, full) == (above.context, above.integrations)


@pytest.mark.parametrize("empty", [b"{}", b"[]", b'""', b"{ }"])
def test_empty_traits_hide_none_in_the_context(empty: bytes) -> None:
    body = b'{"type":"identify","traits":%b,"context":{"traits":{"b":2}}}' % empty

    assert b'{"b":2}' == _call(body).traits


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        (b'{"categoryPreferences":{"a":false,"b":false}}', b'{"categoryPreferences":{"b":true}}',
         b'{"categoryPreferences":{"a":false,"b":true}}'),
        (b'{"a":false}', b'{"categoryPreferences":{"b":true}}',
         b'{"a":false,"categoryPreferences":{"b":true}}'),
        (b'{"a":false}', b"null", b'{"a":false}'),
        (b'{"a":false}', b"[]", b'{"a":false}'),
        (b'{"a":false}', b"7", b"7"),
        (b"7", b'{"a":false}', b"7"),
        (b"[]", b'{"a":false}', b'{"a":false}'),
    ],
)  # fmt: skip
def test_the_batchs_consent_is_joined_with_the_events_own(below: bytes, above: bytes, merged: bytes) -> None:
    for name in (b"consent", b"consentManagement"):
        call = _call(b'{"context":{"%b":%b}}' % (name, above), context=b'{"%b":%b}' % (name, below))

        assert b'{"%b":%b}' % (name, merged) == call.context


def test_consents_in_consents_are_joined_no_deeper_than_they_are_read() -> None:
    deep = b'{"consent":' * 400 + b"{%b}" + b"}" * 400
    call = _call(b'{"context":%b}' % (deep % b'"a":1'), context=deep % b'"b":2')

    assert deep % b'"a":1' == call.context


@pytest.mark.parametrize(
    "sent_at", [b"1700000000000", b'"garbage"', b'"2026-11-29 12:00:00 UTC"', b"true", b'{"a":1}']
)
def test_a_time_of_sending_that_cannot_be_read_is_told_and_costs_nothing(sent_at: bytes) -> None:
    batch = decode_batch(b'{"batch":[{"userId":"1"},\x01],"sentAt":%b}' % sent_at)
    whole = decode_batch(b'{"batch":[{"userId":"1"}],"sentAt":%b}' % sent_at)
    calls = [decode_call(one.calls[0], "track", one) for one in (batch, whole)]
    calls.append(_call(b'{"userId":"1","sentAt":%b}' % sent_at))

    for call in calls:
        assert ("1", None, ["sentAt"]) == (call.user_id, call.sent_at, _left_out(call))


def test_the_batchs_time_of_sending_counts_where_an_events_own_is_no_text() -> None:
    batch = Batch((), sent_at="1970-01-01T00:00:01Z")

    assert 1_000_000 == decode_call(b'{"userId":"1","sentAt":7}', "track", batch).sent_at
    assert (None, ()) == (
        decode_batch(b'{"batch":[],"sentAt":""}').sent_at,
        decode_batch(b'{"batch":[]}').left_out,
    )


@pytest.mark.parametrize(
    ("kind", "body", "left_out"),
    [
        ("track", b'{"event":"x","userId":"1","messageId":[1]}', ["messageId"]),
        ("track", b'{"event":"x","userId":"1","messageId":1.5}', ["messageId"]),
        ("track", b'{"event":"x","userId":"1","anonymousId":false}', ["anonymousId"]),
        ("track", b'{"event":"x","userId":1,"anonymousId":[]}', ["anonymousId"]),
        ("track", b'{"event":"x","userId":"1","anonymousId":1.5}', ["anonymousId"]),
        ("track", b'{"event":"x","anonymousId":"1","userId":true}', ["userId"]),
        ("track", b'{"event":"x","userId":false,"anonymousId":{}}', ["userId", "anonymousId"]),
        ("track", b'{"event":"x","userId":"1","previousId":[],"name":5,"groupId":{}}',
         ["previousId", "groupId", "name"]),
        ("track", b'{"event":"x","userId":"1","type":7}', ["type"]),
        ("page", b'{"userId":"1","event":7,"name":[]}', ["event", "name"]),
        ("identify", b'{"userId":"1","timestamp":"2026-01-01","originalTimestamp":7}', ["originalTimestamp"]),
        ("page", b'{"userId":"1","timestamp":"2026-01-01","originalTimestamp":"x"}', ["originalTimestamp"]),
        ("identify", b'{"userId":"1","timestamp":{},"originalTimestamp":"2026-01-01"}', ["timestamp"]),
    ],
)  # fmt: skip
def test_a_field_that_is_not_needed_never_costs_the_call(kind: str, body: bytes, left_out: list[str]) -> None:
    call = _call(body, kind)

    assert sorted(left_out) == sorted(_left_out(call))
    assert kind == call.type
    if b"2026" in body:
        assert 1_767_225_600_000_000 == call.time


def test_a_message_id_that_is_a_number_is_a_text() -> None:
    call = _call(b'{"messageId":123,"userId":"1","properties":{"n":1.10}}')

    assert ("123", b'{"n":1.10}', []) == (call.message_id, call.properties, _left_out(call))


def test_a_file_names_consent_beside_the_context_or_in_it() -> None:
    body = (
        b'{"userId":"1","consent":{"ads":false},"context":{"consent":{"ads":true,"b":true},"ip":"1.2.3.4"}}'
    )
    plain = decode_file_call(b'{"userId":"1","consent":{"ads":false}}')

    assert b'{"consent":{"ads":false,"b":true},"ip":"1.2.3.4"}' == decode_file_call(body).context
    assert b'{"consent":{"ads":false}}' == plain.context
    assert b"" == decode_file_call(b'{"userId":"1","consent":[]}').context


def test_an_event_that_is_no_text_makes_no_identify_of_a_files_call() -> None:
    with pytest.raises(Invalid, match="event"):
        decode_file_call(b'{"userId":"1","event":5}')
    assert ["email"] == _left_out(decode_file_call(b'{"userId":"1","email":5}'))
    with pytest.raises(Invalid, match="email"):
        decode_file_call(b'{"email":5}')
