"""Mails and pages made of messages that nobody should trust."""

import ast
from email import policy
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from connectors import eml
from connectors.delivery import Verdict
from connectors.folder.outbox import Outbox
from connectors.pictures import taken_out
from tessera.render.v1 import message_pb2
from tests.integration.connectors.fake_render import message

ROOT = Path(__file__).parents[3]
ALLOWED = {"connectors", "tessera", "grpc", "google", "aiosmtplib"}
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Gathers the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", sorted((ROOT / "connectors").rglob("*.py")), ids=str)
def test_connectors_need_nothing_but_the_contracts(path: Path) -> None:
    import sys

    roots = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").partition(".")[0])

    assert set() == roots - ALLOWED - set(sys.stdlib_module_names)


def test_a_mail_is_the_same_each_time() -> None:
    one = message(message_id="m")

    assert eml.mail_of(one) == eml.mail_of(one)


def test_a_mail_has_its_parts_and_its_preheader_first_in_the_body() -> None:
    mail = BytesParser(policy=policy.default).parsebytes(eml.mail_of(message()))
    html = mail.get_body(("html",))

    assert "multipart/alternative" == mail.get_content_type()
    assert ["text/plain", "text/html"] == [part.get_content_type() for part in mail.iter_parts()]
    assert html is not None
    body = html.get_content().split("<body>")[1]
    assert body.startswith("<div")
    assert body.index("We kept your cart") < body.index("Hallo")


@pytest.mark.parametrize(
    "before",
    [
        "<html><body>",
        '<BODY\n class="a">',
        '<!--[if mso]><body class="mso"><![endif]--><!--[if !mso]><!--><body>',
        "<!--><body>",
        "<body data-x='1>2' data-y = \"3>4\" title=it's>",
        '<head><meta content="<body>"><style>/* <body> */</style><script>"<body>"</script></head><body>',
        "<head><title>The <body> of a page</title></head><body>",
        "<body-guard></body-guard><body>",
    ],
)
def test_the_preheader_comes_first_in_the_body_that_mail_readers_show(before: str) -> None:
    assert eml.with_preheader(f"{before}<p>Hallo</p>", "Hi").startswith(f"{before}<div ")


@pytest.mark.parametrize("html", ["<p>Hallo</p>", "<body", "<body a='", "<!-- <body>", "=" * 9])
def test_html_without_a_body_begins_with_the_preheader(html: str) -> None:
    shown = eml.with_preheader(html, "Hi")

    assert shown.startswith("<div ")
    assert shown.endswith(html)


_PICTURE = "data:image/png;base64,iVBORw=="


def test_a_picture_in_the_html_comes_as_a_part_that_mail_readers_show() -> None:
    html = f'<p>é</p><img alt="a" src="{_PICTURE}"><img src=\'{_PICTURE}\'><img src="https://x.example.com/b.png">'
    given = message(html=html)
    raw = eml.mail_of(given)
    mail = BytesParser(policy=policy.default).parsebytes(raw)
    (picture,) = [part for part in mail.walk() if part.get_content_maintype() == "image"]
    shown = mail.get_body(("html",))
    assert shown is not None
    source = f"cid:{picture['Content-ID'].strip('<>')}"

    assert raw == eml.mail_of(given)
    assert raw.isascii()
    assert b"\x89PNG" == picture.get_content()
    assert "inline" == picture.get_content_disposition()
    assert ["text/plain", "multipart/related"] == [part.get_content_type() for part in mail.iter_parts()]
    assert f'<img alt="a" src="{source}"><img src=\'{source}\'>' in shown.get_content()
    assert 'src="https://x.example.com/b.png"' in shown.get_content()


@pytest.mark.parametrize(
    "source", ["data:image/png;base64,i=Bw", "data:image/svg+xml;base64,iVBORw==", "data:text/html,x"]
)
def test_what_is_no_picture_stays_as_it_is(source: str) -> None:
    assert (f'<img src="{source}">', []) == taken_out(f'<img src="{source}">')


def test_a_mail_is_ascii_lines_of_moderate_length() -> None:
    mail = eml.mail_of(message(html="ü" * 5000, text="x" * 5000, subject="ü" * 300))

    assert mail.isascii()
    assert max(map(len, mail.splitlines())) <= 998


def test_long_links_and_ids_stay_on_one_line() -> None:
    link, key, id_ = f"<https://x.example/{'u' * 500}>", "k" * 64, f"<{'i' * 200}@shop.example.com>"
    header = message_pb2.Header(name="List-Unsubscribe", value=link)
    lines = eml.mail_of(message(key, headers=[header], rfc5322_message_id=id_)).splitlines()

    assert f"List-Unsubscribe: {link}".encode() in lines
    assert f"X-Tessera-Idempotency-Key: {key}".encode() in lines
    assert f"Message-ID: {id_}".encode() in lines


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "Hi\nBcc: eve@example.com"},
        {"to": "ada@example.com, eve@example.com"},
        {"to": "ada@example.com\nBcc: eve@example.com"},
        {"to": "nobody"},
        {"to": ""},
        {"rfc5322_message_id": "<a@b>\n\nbody"},
    ],
)
def test_no_field_begins_another_header(fields: dict[str, Any]) -> None:
    with pytest.raises(eml.Undeliverable):
        eml.mail_of(message(**fields))


async def test_a_link_in_a_mail_opens_a_page_of_its_own(tmp_path: Path) -> None:
    """The frame may show mails alone, so that a link in it would lead nowhere."""
    outbox = Outbox(tmp_path, "Links work while Tessera <runs>.")
    await outbox.deliver(message(html='<a href="https://shop.example.com">Unsubscribe</a>'))
    await outbox.rest()
    (preview,) = (tmp_path / "previews").iterdir()
    bases = [attributes for tag, attributes in Tags(preview.read_text()).tags if tag == "base"]

    assert [{"target": "_blank"}] == bases
    assert "Links work while Tessera &lt;runs&gt;." in (tmp_path / "index.html").read_text()


async def test_the_index_lists_mails_and_lets_nothing_of_them_run(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    await outbox.deliver(message(subject=EVIL, campaign_id=EVIL, html=f"<html>{EVIL}"))
    await outbox.rest()
    page = Tags((tmp_path / "index.html").read_text())
    (preview,) = (tmp_path / "previews").iterdir()
    frames = [attributes for tag, attributes in page.tags if tag == "iframe"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]

    assert ["allow-popups allow-popups-to-escape-sandbox"] == [frame["sandbox"] for frame in frames]
    assert [f"previews/{preview.name}"] == links
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert preview.read_text().startswith("<!doctype html><meta charset=")
    assert "default-src 'none'" in preview.read_text().split("<script>")[0]


async def test_a_key_that_is_no_file_name_leaves_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    result = await Outbox(folder).deliver(message("../../evil"))

    assert Verdict.DELIVERED is result.verdict
    assert ["mail", "outbox", "preview", "previews"] == _kinds_in(tmp_path)


async def test_a_new_process_lists_what_an_older_one_wrote(tmp_path: Path) -> None:
    await Outbox(tmp_path).deliver(message("key-1", subject="first"))
    outbox = Outbox(tmp_path)
    await outbox.deliver(message("key-2", subject="second"))
    await outbox.rest()
    page = (tmp_path / "index.html").read_text()

    assert "2 messages" in page
    assert "first" in page
    assert "second" in page


async def test_a_folder_that_cannot_be_written_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)
    monkeypatch.setattr("connectors.folder.outbox._replace", _full)
    result = await outbox.deliver(message())

    assert Verdict.RETRY is result.verdict


def _kinds_in(folder: Path) -> list[str]:
    kinds = {".eml": "mail", ".html": "preview"}
    return sorted(kinds.get(path.suffix, path.name) for path in folder.rglob("*"))


def _full(path: Path, content: bytes) -> None:
    raise OSError(28, "No space left on device")
