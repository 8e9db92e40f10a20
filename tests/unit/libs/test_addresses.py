"""The normal form of addresses: one identity for one mailbox, and for no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.addresses import normal_email, normal_phone


@pytest.mark.parametrize(
    "lookalike",
    [
        "mi\u212ae@example.com",
        "mike@e\u212aample.com",
        "mike@example\u037ecom",
        "mike\u1fef@example.com",
    ],
)
def test_mi_kelvin_sign_e_is_not_mike(lookalike: str) -> None:
    assert normal_email(lookalike) is None


def test_only_letters_of_ascii_are_folded() -> None:
    assert "jörg.Ü@example.com" == normal_email("JöRG.Ü@Example.COM")
    assert "iı\u0130@example.com" == normal_email("Iı\u0130@example.com")
    assert "straße@example.com" == normal_email("straße@example.com") != normal_email("strasse@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "ada\u200b@example.com",
        "\ufeffada@example.com",
        "a\u00adda@example.com",
        "\u202aada@example.com\u202c",
        "ada@exam\u2060ple.com",
        "ada\ufe0f@example.com\u200e",
        "ada@example.com\u3000",
    ],
)
def test_a_zero_width_space_in_an_address_is_left_out(text: str) -> None:
    assert "ada@example.com" == normal_email(text)


@pytest.mark.parametrize(
    "text", ["ada\u2800@example.com", "a\ue000@example.com", "a\x85b@example.com", "a b@é.example"]
)
def test_what_cannot_be_spoken_is_no_address(text: str) -> None:
    assert normal_email(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "ada@bücher.example",
        "ada@BÜCHER.example",
        "ada@bu\u0308cher.example",
        "ada@xn--bcher-kva.example",
        "ADA@XN--BCHER-KVA.EXAMPLE",
        "ada@bücher。example",
    ],
)
def test_ada_at_buecher_beside_its_xn_form_is_one_identity(text: str) -> None:
    assert "ada@xn--bcher-kva.example" == normal_email(text)


@pytest.mark.parametrize("text", ["ada@-bü.example", "ada@bü..example", "ada@bü", "ada@\u0301b.example"])
def test_a_domain_that_the_dns_cannot_hold_is_none(text: str) -> None:
    assert normal_email(text) is None


@pytest.mark.parametrize(
    "domain",
    [
        "b.example'",
        "b!c.example",
        "b/c.example",
        "*.example",
        "-b.example",
        "b-.example",
        "x" * 64 + ".example",
    ],
)
def test_a_domain_that_no_mail_goes_to_is_none(domain: str) -> None:
    assert normal_email(f"a@{domain}") is None


def test_a_local_part_composed_and_decomposed_is_one() -> None:
    assert "josé@example.com" == normal_email("jose\u0301@example.com") == normal_email("josé@example.com")
    assert normal_email("e\u0301\u0323@example.com") == normal_email("\u1eb9\u0301@example.com")


@pytest.mark.parametrize("text", ["sora..88@docomo.example", ".sora@docomo.example", "sora.@ezweb.example"])
def test_a_local_part_that_mail_must_quote_is_an_address_all_the_same(text: str) -> None:
    assert text == normal_email(text)


@given(st.text(max_size=30), st.text("ab.ü\u0308-éß\u200bK\u212a", max_size=20))
def test_the_normal_form_of_a_normal_form_is_itself(local: str, domain: str) -> None:
    normal = normal_email(f"{local}@{domain}.example")

    assert normal is None or normal == normal_email(normal)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("\u202a+49 30 123456\u202c", "+4930123456"),
        ("+49 (0)30 123456", "+4930123456"),
        ("0049(0)30-123456", "+4930123456"),
        ("(0)30 123456", None),
        ("٠٠٤٩٣٠١٢٣٤٥٦", None),
    ],
)
def test_a_number_as_people_copy_it(text: str, normal: str | None) -> None:
    assert normal == normal_phone(text)
