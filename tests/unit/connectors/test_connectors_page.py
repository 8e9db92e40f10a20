"""docs/connectors.md says where every field of a message goes."""

import re
from pathlib import Path

from tessera.render.v1.message_pb2 import Message

PAGE = Path(__file__).resolve().parents[3] / "docs" / "connectors.md"


def test_the_page_tells_where_each_field_of_a_message_goes() -> None:
    (table,) = re.findall(r"^## Fields\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(Message.DESCRIPTOR.fields_by_name) == sorted(named)
