"""What the columns of a CSV file mean."""

import orjson
import pytest

from cli.imports.columns import Asked, mapping
from libs.errors import Invalid


def _call(header: list[str], values: list[str], **asked: list[str]) -> dict[str, object]:
    call = mapping(header, Asked(**asked)).call(values)
    plain: dict[str, object] = orjson.loads(orjson.dumps(call))
    return plain


@pytest.mark.parametrize(
    "text", ["1.10", "007", "12.50", "true", "1e5", "12345678901234567890123", "-0", " x "]
)
def test_csv_1_10_stays_the_text_that_it_is(text: str) -> None:
    assert {"userId": "a", "traits": {"size": text}} == _call(["userId", "traits.size"], ["a", text])


@pytest.mark.parametrize("text", ["491701234567", "01701234567", "0170/1234567"])
def test_csv_a_digits_only_phone_is_a_text(text: str) -> None:
    header = ["userId", "traits.phone", "phone"]

    assert {"userId": "a", "traits": {"phone": text}, "phone": text} == _call(header, ["a", text, text])


@pytest.mark.parametrize(
    ("text", "number"), [("1.10", b"1.10"), ("-3", b"-3"), (" 12 ", b"12"), ("1e3", b"1e3"),
                         ("12345678901234567890123", b"12345678901234567890123")]
)  # fmt: skip
def test_a_column_becomes_numbers_where_that_is_asked_with_every_digit(text: str, number: bytes) -> None:
    mapped = mapping(["userId", "properties.x"], Asked(types=["properties.x=number"]))

    assert b'{"userId":"a","properties":{"x":' + number + b"}}" == orjson.dumps(mapped.call(["a", text]))


@pytest.mark.parametrize("text", ["1,299.00", "12,50", "$5", "NaN", "1_000", "٣", "0x1f", "."])
def test_what_is_no_number_in_a_column_of_numbers_costs_its_row(text: str) -> None:
    with pytest.raises(Invalid, match=r"properties\.x: is not a number"):
        _call(["userId", "properties.x"], ["a", text], types=["properties.x=number"])


def test_a_column_becomes_booleans_where_that_is_asked() -> None:
    asked = {"types": ["traits.vip=boolean"], "yes": ["ja"], "no": ["nein"]}

    assert {"vip": True} == _call(["userId", "traits.vip"], ["a", "Ja"], **asked)["traits"]
    assert {"vip": False} == _call(["userId", "traits.vip"], ["a", "0"], **asked)["traits"]
    with pytest.raises(Invalid, match=r"traits\.vip: is neither yes"):
        _call(["userId", "traits.vip"], ["a", "oui"], **asked)


@pytest.mark.parametrize("text", ["properties.x=money", "properties.y=number", "userId=number", "number"])
def test_a_wrong_type_is_explained(text: str) -> None:
    with pytest.raises(Invalid, match="--type"):
        mapping(["userId", "properties.x"], Asked(types=[text]))


def test_csv_with_a_consent_column_is_taken() -> None:
    header = [
        "userId",
        "timestamp",
        "consent.email_marketing",
        "consent.analytics",
        "consent.personalization",
    ]

    assert {"email_marketing": True, "analytics": False} == _call(
        header, ["a", "2026-01-31", "Yes", "false", ""]
    )["consent"]


@pytest.mark.parametrize("name", ["newsletter", "E-Mail Opt-In", "consent", "Unsubscribed",
                                  "accepts_marketing", "Einwilligung", "do_not_email",
                                  "HasOptedOutOfEmail", "opted_out", "UNSUB_TIME", "accepts_email",
                                  "allow_email", "acceptsSMS", "Widerruf", "Werbesperre", "Mailsperre",
                                  "abbestellt", "d\u00e9sinscrit", "de\u0301sinscrit", "Fecha de baja",
                                  "afgemeld", "Zustimmung", "rgpd", "no_email", "No E-Mail", "DNE",
                                  "ok_to_mail", "email allowed"])  # fmt: skip
def test_csv_with_a_consent_column_that_is_not_mapped_is_refused_and_told_what_to_do(name: str) -> None:
    with pytest.raises(Invalid, match=r"consent\.email_marketing") as refused:
        mapping(["userId", name])

    assert f"--ignore '{name}'" in refused.value.message
    assert [name] == mapping(["userId", name], Asked(ignored=[name])).unused


@pytest.mark.parametrize("name", ["E-Mail", "Contact No", "MailingCity", "Gewerbe", "Geworben von",
                                  "Allowance", "rebaja", "Werber", "status", "canal", "Notes"])  # fmt: skip
def test_a_column_that_only_sounds_like_consent_stops_nothing(name: str) -> None:
    assert [name] == mapping(["userId", name]).unused


@pytest.mark.parametrize("text", ["ja", "nein", "wahr", "x", "maybe", "2"])
def test_csv_with_a_consent_column_of_other_words_is_told(text: str) -> None:
    with pytest.raises(Invalid, match=f"consent.email_marketing: is neither yes .* nor no .*'{text}'"):
        _call(["userId", "timestamp", "consent.email_marketing"], ["a", "2026-01-31", text])


def test_csv_with_a_consent_column_of_other_words_is_taken_where_they_are_named() -> None:
    header, words = ["userId", "timestamp", "consent.email_marketing"], {"yes": ["ja"], "no": ["Nein"]}

    assert {"email_marketing": True} == _call(header, ["a", "2026-01-31", "JA"], **words)["consent"]
    assert {"email_marketing": False} == _call(header, ["a", "2026-01-31", "nein "], **words)["consent"]


def test_a_column_of_refusals_refuses_and_never_grants() -> None:
    asked = {"maps": ["refusal.email_marketing=Unsubscribed"]}

    assert {"email_marketing": False} == _call(["userId", "Unsubscribed"], ["a", "1"], **asked)["consent"]
    assert {} == _call(["userId", "Unsubscribed"], ["a", "0"], **asked)["consent"]


@pytest.mark.parametrize(("consent", "refusal"), [("yes", "yes"), ("no", "yes"), ("no", "no")])
def test_where_columns_of_consent_and_refusal_differ_the_refusal_counts(consent: str, refusal: str) -> None:
    header = ["userId", "timestamp", "consent.email_marketing", "refusal.email_marketing"]
    turned = [header[0], header[1], header[3], header[2]]

    assert {"email_marketing": False} == _call(header, ["a", "2026-01-31", consent, refusal])["consent"]
    assert {"email_marketing": False} == _call(turned, ["a", "2026-01-31", refusal, consent])["consent"]


def test_consent_without_a_time_is_not_granted_over_a_withdrawal_that_came_since() -> None:
    with pytest.raises(Invalid, match="--set timestamp="):
        mapping(["userId", "consent.email_marketing"])
    with pytest.raises(Invalid, match="timestamp: is empty"):
        _call(["userId", "timestamp", "consent.email_marketing"], ["a", "", "yes"])
    refused = _call(["userId", "timestamp", "consent.email_marketing"], ["a", "", "no"])

    assert {"email_marketing": False} == refused["consent"]


def test_duplicate_headers_are_refused() -> None:
    with pytest.raises(Invalid, match="columns 2 and 3 are both named 'email'"):
        mapping(["userId", "email", " email "])


def test_a_value_in_a_column_without_a_name_is_told() -> None:
    mapped = mapping(["userId", "", "traits.a", ""])

    assert {"userId": "7", "traits": {"a": "x"}} == mapped.call(["7", "", "x", " "])
    with pytest.raises(Invalid, match="column 4: has no name, but holds 'lost'"):
        mapped.call(["7", "", "x", "lost"])


def test_a_file_without_headers_is_refused() -> None:
    with pytest.raises(Invalid, match="no first line"):
        mapping(["", " "])


def test_a_mapping_must_say_who_it_was() -> None:
    with pytest.raises(Invalid, match="--map userId=Customer"):
        mapping(["Customer"])


@pytest.mark.parametrize(
    "text",
    [
        "userId",
        "userId=",
        "colour=Customer",
        "userId=Client",
        "context.consent.x=Customer",
        "traits.=Customer",
    ],
)
def test_a_wrong_mapping_is_explained(text: str) -> None:
    with pytest.raises(Invalid, match="--map"):
        mapping(["Customer"], Asked(maps=[text]))


def test_dots_nest() -> None:
    assert {"userId": "a", "traits": {"address": {"city": "Rome", "zip": "00118"}}} == _call(
        ["userId", "traits.address.city", "traits.address.zip"], ["a", "Rome", "00118"]
    )
    with pytest.raises(Invalid, match="can't be a value"):
        mapping(["userId", "traits.address", "traits.address.city"])
