"""Values and addresses that name nobody, and ids that are not what they are sent as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.directory.wire import profile_pb
from services.profile.identity.model import is_blocked_value
from tests.unit.profile.people import MemoryPeople, event

_LEFTOVERS = [
    *("(null)", "<null>", "[null]", "{null}", "None", "undefined", "(undefined)", "<nil>", "(none)", "NaN"),
    *("null null", "undefined undefined", "none,none", "null-null", "undefined_undefined", "NULL|NULL"),
    *(
        "%%user_id%%",
        "{{user.id}}",
        "{{ customer.id }}",
        "${id}",
        "#{user.id}",
        "<%= user.id %>",
        "*|UNIQID|*",
    ),
    *("%7B%7Buser_id%7D%7D", "{user_id}", "[USER_ID]", "<user_id>", "$user_id", ":user_id", "%user_id%"),
    *("__USER_ID__", "cust-{{id}}", "%(user_id)s", "N/A", "n.a.", "#N/A", "(not set)", "not available"),
    *("-", "--", "?", ".", "", "   ", "0", "0000", "0.0", "+0", "-1", "[]", "{}", "\\N", "NoneType"),
    *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000", "[object Object]"),
    *(
        '"null"',
        "'undefined'",
        "“null”",
        "( null )",
        "null;",
        "ｎｕｌｌ",
        "（null）",
        " null\u200b",
        "\ufeffnull",
    ),
    *("anonymous", "Guest", "anon", "distinct_id", "not_authenticated", "lmy47d"),
]
_NAMES = [
    *("42", "user-0", "user 1", "nullman", "ada", "user_10", "0012", "a0", "nathan", "device 1", "test-7"),
    *("guest-42", "ид", "12-00", "000000000001", "user%2042", "na-12", "5%", "user:5", "id-5", "x"),
]


@pytest.mark.parametrize("value", _LEFTOVERS)
def test_user_id_null_under_two_addresses(value: str) -> None:
    people = MemoryPeople()
    people.apply(event(f"u:{value}", "e:1@x.y", at=1), event(f"u:{value}", "e:2@x.y", at=2))

    assert [["e:1@x.y"], ["e:2@x.y"]] == people.groups()


@pytest.mark.parametrize("value", _NAMES)
def test_an_id_that_only_looks_like_a_leftover_names_somebody(value: str) -> None:
    assert not is_blocked_value(f"u:{value}")


@given(
    st.sampled_from(["null", "undefined", "none", "nan"]), st.sampled_from("()[]{}<>\"'`|*%;,"), st.booleans()
)
def test_a_leftover_in_any_dress_is_one(word: str, around: str, upper: bool) -> None:
    dressed = f" {around}{word.upper() if upper else word}{around}\t"

    assert is_blocked_value(f"u:{dressed}")
    assert is_blocked_value(f"a:{around}{dressed}{around}")


@pytest.mark.parametrize(
    "value",
    [
        *("AnonymousUser", "guest_user", "not-logged-in", "Logged Out"),
        *(
            "[object Promise]",
            "[object HTMLInputElement]",
            "Optional.empty",
            "<built-in function id>",
            "function () {}",
        ),
        *("user_undefined", "cust:null", "id=null", "old-None", "nullnull", "&lt;null&gt;", "%2522null%2522"),
        *(
            "9774d56d682e549c",
            "d41d8cd98f00b204e9800998ecf8427e",
            "02:00:00:00:00:00",
            "F" * 32,
            "0x0",
            "٠٠٠",
        ),
        *(
            "{contactfield=id}",
            "%SUBSCRIBERID%",
            "%1$s",
            "[subscriber:email]",
            "@[UserAttribute['uid']]",
            "{1}",
        ),
        *("#NV", "#WERT!", "(Leer)", "unbekannt", "invité", "неизвестно", "匿名", "[Filtered]", "NaT"),
    ],
)
def test_what_programs_print_and_people_export_where_there_is_no_id_names_nobody(value: str) -> None:
    people = MemoryPeople()
    people.apply(event(f"u:{value}", "e:1@x.y"), event(f"u:{value}", "e:2@x.y"))

    assert [["e:1@x.y"], ["e:2@x.y"]] == people.groups()


@pytest.mark.parametrize("phone", ["+10000000000", "+491111111111", "+1234567890"])
def test_a_number_that_is_typed_where_one_is_asked_for_joins_nobody(phone: str) -> None:
    people = MemoryPeople()
    people.apply(event("e:1@x.y", f"p:{phone}"), event("e:2@x.y", f"p:{phone}"))

    assert [["e:1@x.y"], ["e:2@x.y"]] == people.groups()


@pytest.mark.parametrize(
    "value",
    [
        *("ada", "user_1", "11111111", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "nora.none", "guest-4711"),
        *(
            "new-york",
            "client-ada",
            "f00",
            "fffff",
            "functionality",
            "empty-nest",
            "optional-7",
            "00017",
            "O'Neil",
        ),
    ],
)
def test_what_only_looks_a_little_like_nothing_is_somebody(value: str) -> None:
    assert not is_blocked_value(f"u:{value}")


@pytest.mark.parametrize("address", ["null@null.com", "undefined@undefined.org", "none@null.co"])
def test_nothing_glued_to_nothing_is_no_address(address: str) -> None:
    assert is_blocked_value(f"e:{address}")
    assert not is_blocked_value(f"e:ada@{address.partition('@')[2]}")


@pytest.mark.parametrize("browser", [True, False])
def test_ten_events_whose_only_identifier_is_blocked_or_contested(browser: bool) -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:family@x.y"), event("u:2", "e:family@x.y"))
    people.apply(*(event("u:(null)", at=n, browser=browser) for n in range(10)))
    people.apply(*(event("e:family@x.y", at=n, browser=browser) for n in range(10)))

    assert [["u:1"], ["u:2"]] == people.groups()
    assert 20 == len(people.unassigned)
    assert [1, 1] == [profile.events for profile in people.profiles()]


def test_ten_guests_whom_a_browser_names_by_somebodys_address() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:ada@x.y"))
    people.apply(*(event("e:ada@x.y", at=n, browser=True) for n in range(10)))

    assert [["e:ada@x.y", "u:1"]] == people.groups()
    assert 10 == len(people.unassigned)


def test_identify_email_null() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:ada@x.y", "p:+49301", at=1, traits={"email": b'"ada@x.y"'}))
    before = profile_pb(people.holder("u:1"))
    people.apply(event("u:1", at=2, traits={"email": None}))
    after = profile_pb(people.holder("u:1"))
    people.apply(event("u:1", at=3, traits={"email": b'"new@x.y"'}))

    assert ("ada@x.y", "+49301") == (before.email, before.phone)
    assert ("", "+49301") == (after.email, after.phone)
    assert "new@x.y" == profile_pb(people.holder("u:1")).email


def test_identify_email_null_from_a_browser_takes_nobodys_address() -> None:
    people = MemoryPeople()
    people.apply(event("u:1", "e:ada@x.y", at=1, traits={"email": b'"ada@x.y"'}))
    people.apply(event("u:1", at=2, traits={"email": None}, browser=True))

    assert "ada@x.y" == profile_pb(people.holder("u:1")).email


def test_alias_from_one_user_id_to_another() -> None:
    people = MemoryPeople()
    people.apply(event("u:old", "e:ada@x.y"))
    people.apply(event("u:new", "a:old", previous_id="old", at=1))

    assert [["e:ada@x.y", "u:old"], ["u:new"]] == people.groups()


def test_alias_from_an_anonymous_id_joins_it() -> None:
    people = MemoryPeople()
    people.apply(event("a:old"))
    people.apply(event("u:new", "a:old", previous_id="old", at=1))

    assert [["a:old", "u:new"]] == people.groups()


def test_an_unknown_profile_id_leaves_the_event_to_its_other_identifiers() -> None:
    people = MemoryPeople()
    people.apply(event("e:ada@x.y", profile_id="11111111-1111-1111-1111-111111111111"))

    assert [["e:ada@x.y"]] == people.groups()


def test_a_whole_number_of_23_digits_keeps_its_digits() -> None:
    people = MemoryPeople()
    people.apply(
        event("u:1", traits={"n": b"12345678901234567890123", "deep": b'{"n":[-98765432109876543210987]}'})
    )

    assert (
        b'{"deep":{"n":[-98765432109876543210987]},"n":12345678901234567890123}'
        == profile_pb(people.holder("u:1")).traits_json
    )
