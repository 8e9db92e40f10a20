"""Pages to look at a folder of mails: no script in them, and none in the mails that they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from tessera.render.v1.message_pb2 import Message

PREVIEWS = "previews"
_MOST_ROWS = 1000
_OLDEST = datetime.min.replace(tzinfo=UTC)
# Stands first in a preview: no script, no form, no frame; pictures and styles as mail has them.
_POLICY = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="'
    "default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline' https:; font-src https:\">"
    # A link opens beside the list, which may hold no other page.
    '<base target="_blank">'
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; frame-src 'self' file:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Outbox</title>
<style>
body {{ margin: 0; height: 100vh; display: grid; grid-template-columns: minmax(22rem, 2fr) 3fr;
  font: 15px/1.45 system-ui, sans-serif; color: #2b2a28; }}
nav {{ overflow: auto; border-right: 1px solid #ddd8cf; background: #faf8f5; }}
h1 {{ margin: 0; padding: 1rem; font-size: 1.1rem; }}
nav p {{ margin: 0; padding: 0 1rem 1rem; font-size: .85em; color: #6c675f; }}
nav a {{ display: block; padding: .6rem 1rem; border-top: 1px solid #ece8e1; color: inherit;
  text-decoration: none; }}
nav a:hover, nav a:focus {{ background: #eef3ef; }}
nav b, nav span {{ display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
nav span {{ font-size: .85em; color: #6c675f; }}
iframe {{ width: 100%; height: 100%; border: 0; background: #fff; }}
</style>
</head>
<body>
<nav><h1>{title}</h1>{note}
{rows}
</nav>
<iframe name="mail" title="The mail" sandbox="allow-popups allow-popups-to-escape-sandbox"{newest}></iframe>
</body>
</html>
"""
_ROW = (
    '<a href="{link}" target="mail"><b>{subject}</b><span>{recipient}</span>'
    "<span>{campaign} · {time}</span></a>"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A mail in the list."""

    name: str
    time: datetime | None
    recipient: str
    subject: str
    campaign: str


def preview_page(message: Message) -> str:
    """The HTML part behind a policy that lets nothing in it run."""
    return _POLICY + message.html


def index_page(entries: Sequence[Entry], note: str = "") -> str:
    """The list, newest first, below a note; everything that came with a message is escaped."""
    ordered = sorted(entries, key=lambda entry: (entry.time or _OLDEST, entry.name), reverse=True)
    shown = ordered[:_MOST_ROWS]
    title = f"{len(entries):,} messages"
    if len(shown) < len(entries):
        title += f", the newest {len(shown):,} shown"
    newest = f' src="{_link(shown[0])}"' if shown else ""
    shown_note = f"<p>{escape(note)}</p>" if note else ""
    return _PAGE.format(
        title=title, note=shown_note, rows="\n".join(_row(entry) for entry in shown), newest=newest
    )


def _link(entry: Entry) -> str:
    return escape(quote(f"{PREVIEWS}/{entry.name}.html"))


def _row(entry: Entry) -> str:
    return _ROW.format(
        link=_link(entry),
        subject=escape(entry.subject) or "(no subject)",
        recipient=escape(entry.recipient),
        campaign=escape(entry.campaign),
        time=entry.time.strftime("%Y-%m-%d %H:%M:%S") if entry.time else "",
    )
