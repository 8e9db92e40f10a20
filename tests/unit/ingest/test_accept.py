"""What makes an event acceptable, and what it becomes."""

from typing import Any

import orjson
import pytest

from libs.addresses import normal_email, normal_phone
from libs.errors import Invalid
from libs.tracking.calls import Call, LeftOut
from services.ingest.sources.model import Source
from services.ingest.tracking.model import Collected, EventType, accept, event_id

SERVER = Source("shop", trusted=True)
BROWSER = Source("site", trusted=False)
_SECOND = 1_000_000
NOW = 1_800_000_000 * _SECOND


def _accept(source: Source = SERVER, **fields: Any) -> Collected:
    known = {"type": "track", "name": "Viewed", "user_id": "1", "message_id": "m", **fields}
    return accept(Call(**known), source, NOW, "made")


def _preferences(said: bytes) -> bytes:
    return b'{"consent":{"categoryPreferences":%b}}' % said


def _refusal(source: Source = SERVER, **fields: Any) -> str:
    with pytest.raises(Invalid) as caught:
        _accept(source, **fields)
    return caught.value.field


@pytest.mark.parametrize(
    ("time", "sent_at", "expected"),
    [
        (None, None, NOW),
        (NOW - 3600 * _SECOND, None, NOW - 3600 * _SECOND),
        # The client's clock runs an hour ahead, or a year behind.
        (NOW + 3590 * _SECOND, NOW + 3600 * _SECOND, NOW - 10 * _SECOND),
        (NOW - 365 * 86400 * _SECOND, NOW - 365 * 86400 * _SECOND + 5, NOW - 5),
        (NOW + 300 * _SECOND, None, NOW + 300 * _SECOND),
        (NOW + 300 * _SECOND + 1, None, NOW),
        (NOW + 10**18, None, NOW),
        (0, None, 0),
    ],
)
def test_the_event_time(time: int | None, sent_at: int | None, expected: int) -> None:
    event = _accept(time=time, sent_at=sent_at)

    assert expected == event.event_time
    assert (None if time == expected else time) == event.original_time
    assert NOW == event.received_time


def test_a_time_before_1970_is_refused() -> None:
    assert "timestamp" == _refusal(time=-1)
    assert "timestamp" == _refusal(time=5, sent_at=NOW + 3600 * _SECOND)


@pytest.mark.parametrize("sent_at", [-1, NOW + 10**18, NOW + 367 * 86400 * _SECOND])
def test_an_absurd_time_of_sending_is_told_and_corrects_nothing(sent_at: int) -> None:
    event = _accept(time=NOW - 5, sent_at=sent_at)

    assert (NOW - 5, None) == (event.event_time, event.original_time)
    assert [("sentAt", "MALFORMED")] == _told(event)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("type", {"type": ""}),
        ("type", {"type": "purchase"}),
        ("event", {"name": None}),
        ("groupId", {"type": "group"}),
        ("previousId", {"type": "alias"}),
        ("previousId", {"type": "alias", "user_id": None, "anonymous_id": "a", "previous_id": "b"}),
        ("userId", {"user_id": None}),
        ("userId", {"user_id": "x" * 256}),
        ("userId", {"user_id": "a\0"}),
        ("messageId", {"message_id": "m" * 101}),
        ("event", {"name": "a\0"}),
        ("properties", {"properties": b"[1]"}),
        ("properties", {"properties": b"false"}),
        ("traits", {"traits": b"0"}),
        ("properties", {"properties": b"{"}),
        ("properties", {"properties": b'{"a":NaN}'}),
        ("properties", {"properties": b'{"a":1e999}'}),
        ("properties", {"properties": b'{"a":"\\ud800"}'}),
        ("properties", {"properties": b'{"a":"\xff"}'}),
        ("properties", {"properties": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"}),
        ("properties.a[0].b", {"properties": b'{"a":[{"b":"\\u0000"}]}'}),
        ("properties", {"properties": b'{"\\u0000":1}'}),
        ("context.consent", {"context": b'{"consent":1}'}),
        ("context.consent", {"context": b'{"consent":false}'}),
        ("context.consent.categoryPreferences", {"context": _preferences(b"[1]")}),
        ("context.consent.categoryPreferences", {"context": _preferences(b"false")}),
    ],
)
def test_what_a_client_can_get_wrong_is_refused_by_the_name_of_the_field(
    field: str, fields: dict[str, Any]
) -> None:
    assert field == _refusal(**fields)


def test_nesting_is_allowed_up_to_a_depth() -> None:
    deep = b'{"a":' * 32 + b"1" + b"}" * 32
    wide = b'{"a":[' + b",".join([b"{}"] * 1000) + b"]}"

    assert deep == _accept(properties=deep).properties
    assert wide == _accept(properties=wide).properties
    assert _refusal(properties=b'{"a":' * 34 + b"1" + b"}" * 34).startswith("properties.a.a")


def test_json_is_stored_as_it_came_and_what_says_nothing_as_nothing() -> None:
    exact = b'{"a":9007199254740993,"b":18446744073709551617,"a":1.10}'
    event = _accept(type="identify", traits=exact, properties=b"null", context=b" {} ")

    assert exact == event.traits
    assert (b"", b"") == (event.properties, event.context)


def test_an_event_is_named_by_its_source_and_message() -> None:
    assert _accept().event_id == _accept(name="Other", time=5).event_id == event_id("shop", "m")
    assert _accept().event_id != _accept(BROWSER).event_id
    assert event_id("shop", "made") == _accept(message_id=None).event_id


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"anonymous_id": "a"}, "a"),
        ({}, "1"),
        ({"type": "alias", "previous_id": "b"}, "1"),
        ({"user_id": None, "email": "A@b.co", "phone": "+4930123456"}, "a@b.co"),
        ({"user_id": None, "phone": "+4930123456"}, "+4930123456"),
    ],
)
def test_a_devices_stream_stays_whole_through_a_login(fields: dict[str, Any], key: str) -> None:
    assert key == _accept(**fields).key


def test_only_a_server_may_name_somebody_by_an_address_alone() -> None:
    assert "a@b.co" == _accept(user_id=None, email="A@b.co").email
    assert "userId" == _refusal(BROWSER, user_id=None, email="a@b.co")


def test_what_consent_forbids_is_not_kept() -> None:
    said: dict[str, Any] = {"properties": b'{"a":1}', "context": b'{"ip":"1.2.3.4"}', "traits": b'{"b":2}'}
    event = _accept(consent={"analytics": False, "email_marketing": True}, anonymous_id="a", **said)
    by_default = _accept(Source("shop", True, {"analytics": False}), **said)
    granted = _accept(Source("shop", True, {"analytics": False}), consent={"analytics": True}, **said)

    for one in (event, by_default):
        assert EventType.CONSENT is one.type
        assert ("", b"", b"", b"") == (one.name, one.properties, one.context, one.traits)
    assert {"analytics": False, "email_marketing": True} == event.consent
    assert {} == by_default.consent
    assert EventType.TRACK is granted.type


@pytest.mark.parametrize("name", ["Unsubscribed", "Email Marked as Spam"])
def test_unsubscribed_withdraws_consent_whatever_else_is_said(name: str) -> None:
    event = _accept(
        user_id=None,
        name=name,
        properties=b'{"email":"A@b.co"}',
        consent={"email_marketing": True, "analytics": False},
    )

    assert {"email_marketing": False, "analytics": False} == event.consent
    assert "a@b.co" == event.email


def test_the_context_states_consent_by_category() -> None:
    context = orjson.dumps({"consent": {"categoryPreferences": {"email_marketing": True}}})

    assert {"email_marketing": True} == _accept(context=context).consent


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("a.b+c@sub.example.co", "a.b+c@sub.example.co"),
        ("a@b", None),
        ("a@b..co", None),
        ("a@b@c.de", None),
        ("a b@c.de", None),
        ("a\x01@b.co", None),
        ("a\0@b.co", None),
        (f"{'x' * 250}@b.co", None),
    ],
)
def test_the_normal_form_of_an_email_address(text: str, normal: str | None) -> None:
    assert normal == normal_email(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("+49 (30) 123-456", "+4930123456"),
        ("0049 30 123456", "+4930123456"),
        ("030 123456", None),
        ("+0123456789", None),
        ("+1", None),
        ("+49 30 x", None),
        ("+49\u201030\u2011123\u2013456", "+4930123456"),
        ("+49\u201230\u2014123\u2015456\u22127", "+49301234567"),
        ("tel:+49-30-123456", "+4930123456"),
        ("Tel: 0049 (0)30 123456", "+4930123456"),
        ("hotel:+4930123456", None),
        ("tel:tel:+4930123456", None),
    ],
)
def test_the_normal_form_of_a_phone_number(text: str, normal: str | None) -> None:
    assert normal == normal_phone(text)


def _told(event: Collected) -> list[tuple[str, str]]:
    return [(one.field, one.code) for one in event.left_out]


def test_order_completed_with_an_email_that_is_none_is_the_whole_order() -> None:
    event = _accept(
        name="Order Completed",
        properties=b'{"revenue":5}',
        context=b'{"traits":{"email":"n/a"}}',
    )

    assert (b'{"revenue":5}', "") == (event.properties, event.email)
    assert [("context.traits.email", "MALFORMED")] == _told(event)


@pytest.mark.parametrize(
    "bad", ['"nobody"', "7", "true", '["a@b.co"]', '{"home":"a@b.co"}', '"mi\u212ae@example.com"']
)
def test_identify_with_a_bad_address_and_a_refusal_of_consent_is_the_whole_refusal(bad: str) -> None:
    traits = f'{{"email":{bad},"n":1.10}}'.encode()
    event = _accept(type="identify", traits=traits, consent={"email_marketing": False})

    assert (b'{"n":1.10}', {"email_marketing": False}, "") == (event.traits, event.consent, event.email)
    assert [("traits.email", "MALFORMED")] == _told(event)


@pytest.mark.parametrize("value", [b'"weekly"', b"true", b"null", b'"friend@example.com"'])
@pytest.mark.parametrize("name", ["Preferences Saved", "Email Frequency Chosen", "Email Gift Card Bought"])
def test_a_property_of_an_event_is_the_shops_to_name(name: str, value: bytes) -> None:
    event = _accept(name=name, properties=b'{"email":%b}' % value)

    assert (b'{"email":%b}' % value, "", []) == (event.properties, event.email, _told(event))


@pytest.mark.parametrize("value", [b'"weekly"', b"true"])
def test_an_esps_event_whose_email_is_none_counts_for_its_user_and_tells(value: bytes) -> None:
    event = _accept(name="Email Opened", properties=b'{"email":%b}' % value)

    assert (b'{"email":%b}' % value, "", [("properties.email", "MALFORMED")]) == (
        event.properties,
        event.email,
        _told(event),
    )
    assert "properties.email" == _refusal(
        name="Email Opened", user_id=None, properties=b'{"email":%b}' % value
    )


def test_the_next_place_counts_where_one_names_no_address() -> None:
    context = b'{"traits":{"email":"ada@example.com","phone":"+4930123456"}}'
    event = _accept(type="identify", traits=b'{"email":"n/a","phone":7}', context=context)

    assert ("ada@example.com", "+4930123456", b'{"phone":7}') == (event.email, event.phone, event.traits)


def test_100_junk_purposes_then_analytics_false_keeps_the_denial() -> None:
    junk = {f"junk-{n}": True for n in range(100)}
    event = _accept(consent={**junk, "email_marketing": True, "analytics": False})
    stated = orjson.dumps({**junk, "analytics": False}).replace(b"true", b"true")
    by_context = _accept(context=_preferences(stated))
    denials = _accept(consent={f"junk-{n}": False for n in range(100)} | {"analytics": False})

    for one in (event, by_context, denials):
        assert (EventType.CONSENT, False) == (one.type, one.consent["analytics"])
    assert event.consent["email_marketing"]
    assert 21 == len(event.consent)
    assert (81, [("consent", "TOO_LARGE")]) == (event.purposes_dropped, _told(event))
    assert (80, 101) == (by_context.purposes_dropped, len(denials.consent))


def test_a_purpose_that_cannot_be_read_costs_no_denial_beside_it() -> None:
    stated = b'{"x":1,"analytics":false,"%b":true,"y":"False","z":null,"w":{}}' % (b"p" * 256)
    event = _accept(context=_preferences(stated))
    empty = _accept(consent={"": True, "a\0": True, "email_marketing": False})

    assert {"analytics": False, "y": False} == event.consent
    assert 4 == len(_told(event))
    assert {"email_marketing": False} == empty.consent


def test_an_alias_tells_what_it_joins() -> None:
    event = _accept(type="alias", previous_id="old")

    assert ("old", [("previousId", "ALIAS")]) == (event.previous_id, _told(event))


def test_what_is_kept_beside_the_event_never_costs_it() -> None:
    event = _accept(integrations=b'{"All":true}', channel="server")
    odd = _accept(integrations=b"[1]", channel="x" * 256)
    deep = _accept(integrations=b'{"a":' * 40 + b"1" + b"}" * 40)

    assert (b'{"All":true}', "server", []) == (event.integrations, event.channel, _told(event))
    assert (b"", "", ["integrations", "channel"]) == (
        odd.integrations,
        odd.channel,
        [field for field, _ in _told(odd)],
    )
    assert (b"", "TOO_LARGE") == (deep.integrations, _told(deep)[0][1])


def test_an_event_of_nothing_but_faults_makes_no_long_answer() -> None:
    stated = orjson.dumps({f"p{n}": 7 for n in range(500)})

    assert len(_accept(context=_preferences(stated)).left_out) <= 10


def _consent(context: object, **fields: Any) -> tuple[dict[str, bool], list[str]]:
    event = _accept(context=orjson.dumps(context), **fields)
    return dict(event.consent), [field for field, _ in _told(event)]


@pytest.mark.parametrize(
    ("context", "consent", "told"),
    [
        ({"consent": {"email_marketing": False}}, {"email_marketing": False}, []),
        ({"consent": {"ads": "no"}}, {"ads": False}, ["context.consent.ads"]),
        ({"consent": {"category_preferences": {"analytics": False}}}, {"analytics": False}, []),
        (
            {"consent": {"categoryPreferences": {"ads": True}, "email_marketing": False, "version": 7}},
            {"ads": True, "email_marketing": False},
            [],
        ),
        (
            {"consent": {"categoryPreferences": {"email_marketing": True}, "email_marketing": False}},
            {"email_marketing": False},
            [],
        ),
        ({"consent": {"status": "all of it"}}, {}, ["context.consent.status"]),
        (
            {"consentManagement": {"deniedConsentIds": ["ads", "analytics"]}},
            {"ads": False, "analytics": False},
            [],
        ),
        ({"consentManagement": {"deniedConsentIds": "ads"}}, {"ads": False}, []),
        (
            {"consentManagement": {"deniedConsentIds": ["ads", 7]}},
            {"ads": False},
            ["context.consentManagement.deniedConsentIds"],
        ),
        ({"consentManagement": "ads"}, {}, ["context.consentManagement.deniedConsentIds"]),
        ({"consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": []}}, {}, []),
        ({"consentManagement": []}, {}, []),
        (
            {
                "consent": {"categoryPreferences": {"ads": True}},
                "consentManagement": {"deniedConsentIds": ["ads"]},
            },
            {"ads": False},
            [],
        ),
    ],
)
def test_a_denial_counts_in_whichever_form_an_sdk_states_it_or_is_told(
    context: object, consent: dict[str, bool], told: list[str]
) -> None:
    assert (consent, told) == _consent(context)


@pytest.mark.parametrize(
    "said",
    [0, 0.0, -0.0, "0", "0.0", " No ", "n", "F", "revoked", "Withdrawn", "refused", "unsubscribed",
     "opted_out", "opted-out", "Opted Out", "opt.out", "disabled", "decline", "declined", "reject",
     "rejected", "nein",
     {"granted": False}, {"granted": "denied", "at": 7}],
)  # fmt: skip
def test_a_denial_in_other_words_counts_and_is_told(said: object) -> None:
    for context in ({"consent": {"categoryPreferences": {"ads": said}}}, {"consent": {"ads": said}}):
        consent, told = _consent(context)

        assert {"ads": False} == consent
        assert 1 == len(told)


@pytest.mark.parametrize(
    "said",
    [1, 7, "true", "yes", "granted", "", "-", "10", "now", [], [False], {}, {"granted": True}, {"at": 0}],
)
def test_nothing_but_true_grants_and_nothing_else_denies(said: object) -> None:
    assert ({}, ["context.consent.categoryPreferences.ads"]) == _consent(
        {"consent": {"categoryPreferences": {"ads": said}}}
    )


@pytest.mark.parametrize("name", [" email_marketing ", "Email_Marketing", "EMAIL_MARKETING\n"])
def test_a_known_purpose_is_known_however_it_is_written(name: str) -> None:
    assert {"email_marketing": False} == _consent({"consent": {"categoryPreferences": {name: False}}})[0]
    assert {"email_marketing": True} == _accept(consent={name: True}).consent
    for said in ({name: True, "email_marketing": False}, {"email_marketing": False, name: True}):
        assert {"email_marketing": False} == _accept(consent=said).consent
    assert {" Ads ": False} == _accept(consent={" Ads ": False}).consent


@pytest.mark.parametrize("nothing", [b"[]", b'""', b"null", b"{}", b" [ ] "])
def test_an_empty_list_or_text_in_the_place_of_an_object_says_nothing(nothing: bytes) -> None:
    event = _accept(properties=nothing, traits=nothing, context=nothing, integrations=nothing)

    assert (b"", b"", b"", b"", []) == (
        event.properties,
        event.traits,
        event.context,
        event.integrations,
        _told(event),
    )
    assert {} == _accept(context=b'{"consent":%b}' % nothing).consent
    assert {} == _accept(context=_preferences(nothing)).consent


def test_a_previous_id_costs_no_event_but_an_alias() -> None:
    assert "" == _accept(previous_id="x" * 256).previous_id
    assert "previousId" == _refusal(type="alias", previous_id="a\0")


def test_an_id_that_was_left_out_is_told_where_nobody_else_is_named() -> None:
    left_out = [LeftOut("anonymousId", "is none", "MALFORMED")]

    assert ["anonymousId"] == [field for field, _ in _told(_accept(left_out=left_out))]
    assert "anonymousId" == _refusal(user_id=None, left_out=left_out)


@pytest.mark.parametrize("bad", ["x" * 256, "a\0b"])
def test_an_id_that_can_be_none_is_left_out_where_another_says_whose_it_is(bad: str) -> None:
    by_device, by_user = _accept(user_id=bad, anonymous_id="a"), _accept(user_id="u", anonymous_id=bad)

    assert ("", "a", "u", "") == (
        by_device.user_id,
        by_device.anonymous_id,
        by_user.user_id,
        by_user.anonymous_id,
    )
    assert [["userId"], ["anonymousId"]] == [[o.field for o in e.left_out] for e in (by_device, by_user)]
    for both in ({"user_id": bad, "anonymous_id": bad}, {"user_id": bad, "anonymous_id": None}):
        with pytest.raises(Invalid):
            _accept(**both)
