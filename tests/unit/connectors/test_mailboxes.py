"""Who a mail is from and to, and its subject, as other programs read them."""

from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors import eml
from connectors.mailboxes import mailbox_of
from tests.integration.connectors.fake_render import message


def parsed(raw: bytes) -> EmailMessage:
    mail = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(mail, EmailMessage)
    return mail


@pytest.mark.parametrize(
    ("sender", "line", "name"),
    [
        ('"Shop: News" <news@shop.example>', b'From: "Shop: News" <news@shop.example>', "Shop: News"),
        ('"Shop @ Home" <a@b.example>', b'From: "Shop @ Home" <a@b.example>', "Shop @ Home"),
        ('"Shop (UK)" <a@b.example>', b'From: "Shop (UK)" <a@b.example>', "Shop (UK)"),
        ('"Say \\"hi\\"" <a@b.example>', b'From: "Say \\"hi\\"" <a@b.example>', 'Say "hi"'),
        ("Shop <a@b.example>", b"From: Shop <a@b.example>", "Shop"),
        # Also a name that nobody has quoted, as other renders may send one.
        ("Shop: News <news@shop.example>", b'From: "Shop: News" <news@shop.example>', "Shop: News"),
        ("=?utf-8?q?Eve?= <a@b.example>", b'From: "=?utf-8?q?Eve?=" <a@b.example>', None),
        ("a@b.example", b"From: a@b.example", ""),
    ],
)
def test_from_shop_news_is_quoted_properly(sender: str, line: bytes, name: str | None) -> None:
    raw = eml.mail_of(message(sender=sender))

    assert line in raw.splitlines()
    (address,) = parsed(raw)["From"].addresses
    assert name is None or name == address.display_name


def test_sora_88_with_two_points_has_a_quoted_local_part() -> None:
    raw = eml.mail_of(message(to="sora..88@docomo.example", sender="Shop <news.@shop.example>"))

    assert b'To: "sora..88"@docomo.example' in raw.splitlines()
    assert b'From: Shop <"news."@shop.example>' in raw.splitlines()
    (address,) = parsed(raw)["To"].addresses
    assert ("sora..88", "docomo.example", ()) == (
        address.username,
        address.domain,
        parsed(raw)["To"].defects,
    )


names = st.lists(
    st.sampled_from([*"abc éßü,:;@()<>.\"\\=?_'", "👨‍👩‍👧", "می\u200cخواهم", "\u200f"]), max_size=60
).map(lambda pieces: " ".join("".join(pieces).split()))


@given(names)
@example("Über uns: Neues (2026)")
@example("x" * 180)
@example("é" * 180)
def test_a_name_comes_back_as_it_was_and_brings_no_address_of_its_own(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    given_ = f'"{escaped}" <a@b.example>' if name else "a@b.example"
    raw = eml.mail_of(message(sender=given_))
    header = parsed(raw)["From"]

    assert name == mailbox_of(given_).name
    assert raw.isascii()
    assert ["a@b.example"] == [address.addr_spec for address in header.addresses]
    if "=?" not in name:
        # Python's newer parser puts spaces between encoded words of a name.
        plain = BytesParser(policy=policy.compat32).parsebytes(raw)["From"]
        assert name == str(make_header(decode_header(parseaddr(plain.replace("\n", ""))[0])))
    assert max(map(len, raw.splitlines())) <= 998


@given(names)
@example("👨‍👩‍👧 Family sale")
@example("می\u200cخواهم بخرم")
@example("👨‍👩‍👧" * 40)
@example("word " * 150 + "x")
@example("=?utf-8?q?Eve?= writes")
def test_a_family_emoji_and_a_persian_word_in_the_subject_are_unchanged(subject: str) -> None:
    raw = eml.mail_of(message(subject=subject))

    assert subject.strip() == parsed(raw)["Subject"].strip()
    assert raw.isascii()


@pytest.mark.parametrize(
    "sender",
    ["", "nobody", "Shop", "a@b.example, c@d.example", "Shop <a@b.example> and more", "Shop <a@b.example>\n"],
)
def test_a_sender_that_is_not_one_mailbox_makes_no_mail(sender: str) -> None:
    with pytest.raises(eml.Undeliverable):
        eml.mail_of(message(sender=sender))
