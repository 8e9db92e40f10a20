"""The sender of a campaign: one mailbox, quoted as RFC 5322 wants it, or refused."""

from email import policy
from email.headerregistry import HeaderRegistry

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Invalid
from services.render.engine.model.parts import finished
from services.render.model.mailboxes import address_of, checked_mailbox


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("Shop: News <news@shop.example>", '"Shop: News" <news@shop.example>'),
        ("Shop @ Home <a@b.example>", '"Shop @ Home" <a@b.example>'),
        ("Shop (UK) <a@b.example>", '"Shop (UK)" <a@b.example>'),
        ("Shop, Inc. <a@b.example>", '"Shop, Inc." <a@b.example>'),
        ('"Shop, Inc." <a@b.example>', '"Shop, Inc." <a@b.example>'),
        ('Say "hi" <a@b.example>', '"Say \\"hi\\"" <a@b.example>'),
        ("Müller  &  Söhne <a@b.example>", "Müller & Söhne <a@b.example>"),
        ("می\u200cخواهم <a@b.example>", "می\u200cخواهم <a@b.example>"),
        (" a@b.example ", "a@b.example"),
        ("<a@b.example>", "a@b.example"),
        ("Shop <News@Shop.example>", "Shop <News@Shop.example>"),
        ("sora..88@docomo.example", '"sora..88"@docomo.example'),
        ('Shop <"sora..88"@docomo.example>', 'Shop <"sora..88"@docomo.example>'),
    ],
)
def test_from_with_characters_that_have_a_meaning_is_quoted(given_: str, stored: str) -> None:
    assert stored == checked_mailbox("campaign.sender", given_)
    assert stored == checked_mailbox("campaign.sender", stored)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nobody",
        "a@b.example, c@d.example",
        "Shop <a@b.example>, News <c@d.example>",
        "a@b.example, Shop <c@d.example>",
        "Shop <a@b.example> and more",
        "Shop <a@b.example>; more",
        "a@b.example (Shop)",
        "Shop <a@b.example",
        "Shop a@b.example>",
        "a@b.example c@d.example",
        "Shop <>",
        "Shop <a@bücher.example>",
        "Shop\nBcc: eve@example.com <a@b.example>",
        "Sh\u202eop <a@b.example>",
        "=?utf-8?q?Eve?= <a@b.example>",
        "x" * 200 + " <a@b.example>",
    ],
)
def test_from_with_two_addresses_or_words_behind_the_address_is_refused(value: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_mailbox("campaign.sender", value)

    assert "campaign.sender" == refused.value.field


@given(st.text(max_size=40))
def test_what_is_taken_is_one_mailbox_for_every_reader(name: str) -> None:
    try:
        stored = checked_mailbox("campaign.sender", f"{name} <a@b.example>")
    except Invalid:
        return
    header = HeaderRegistry()("From", stored)

    assert ["a@b.example"] == [address.addr_spec for address in header.addresses]
    assert "a@b.example" == address_of(stored)
    assert policy.default.max_line_length


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("👨‍👩‍👧 Family sale", "👨‍👩‍👧 Family sale"),
        ("می\u200cخواهم بخرم", "می\u200cخواهم بخرم"),
        ("नमस्ते क्\u200dष", "नमस्ते क्\u200dष"),
        ("100\u00a0% off\u2003now", "100\u00a0% off\u2003now"),
        ("שלום\u200f!", "שלום\u200f!"),
        ("two\r\nlines\tand\x07more", "two lines and more"),
        ("two\u2028lines\x85more", "two lines more"),
        ("paid\u202efdp.exe\u202c \u2066x\u2069", "paidfdp.exe x"),
    ],
)
@pytest.mark.parametrize("part", ["subject", "preheader"])
def test_only_what_can_break_a_header_goes_from_a_subject(subject: str, shown: str, part: str) -> None:
    parts = {"subject": "", "preheader": "", "html": "", "text": "", part: subject}

    assert shown == finished(parts)[part]


def test_a_long_subject_does_not_end_in_the_middle_of_a_family() -> None:
    parts = finished({"subject": "👨‍👩‍👧" * 300, "preheader": "", "html": "", "text": ""})

    assert len(parts["subject"]) <= 900
    assert parts["subject"] == "👨‍👩‍👧" * (len(parts["subject"]) // 5)
