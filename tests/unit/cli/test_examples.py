import re
import tomllib
import zlib
from base64 import b64encode
from pathlib import Path
from runpy import run_path
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from cli.definitions import load
from services.render.engine.model import language
from tessera.render.v1.campaign_pb2 import Campaign
from tessera.segment.v1.segment_pb2 import Segment
from tessera.segment.v1.trigger_pb2 import Trigger

EXAMPLES = Path(__file__).parents[3] / "examples"
SHOPS = ["shop", "online-retail"]
PICTURES = EXAMPLES / "shop" / "pictures"
PARTS = {"subject.liquid", "preheader.liquid", "html.liquid", "text.liquid"}
TEMPLATES = sorted(EXAMPLES.glob("*/templates/*"))
_TEAPOT = {"product_id": "P-2", "name": "Teapot", "price": 12.05, "category": "Tea"}
CONTEXT: dict[str, Any] = {
    "profile": {"traits": {"first_name": "Ada", "country": "France", "plan": "club"}},
    "segments": ["just-ordered"],
    "recommendations": [
        {"product_id": "P-1", "name": "WHITE LANTERN", "price": 3.5, "url": "", "reason": "similar"},
        {**_TEAPOT, "url": "https://x.example.com/"},
    ],
    "event": {
        "order_id": "S-1",
        "revenue": 28.05,
        "name": "Teapot",
        "price": 12.05,
        "products": [{**_TEAPOT, "quantity": 2}],
    },
    "campaign": {"campaign_id": "c"},
    "unsubscribe_url": "https://shop.example.com/unsubscribe/1",
}

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _read(shop: str, what: str) -> list[dict[str, Any]]:
    content = tomllib.loads((EXAMPLES / shop / f"{what}.toml").read_text())

    assert {what} == set(content)
    return list(content[what])


def _seconds(delay: str) -> int:
    return int(delay[:-1]) * _UNITS[delay[-1]]


def _ids(tables: list[dict[str, Any]], field: str) -> set[str]:
    ids = [table[field] for table in tables]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", of) for of in ids)
    return set(ids)


def _as(kind: type[Message], table: dict[str, Any]) -> None:
    """Fails where a field is not in the contract."""
    ParseDict(table, kind())


@pytest.mark.parametrize("shop", SHOPS)
def test_segments_have_the_contract_s_fields(shop: str) -> None:
    segments = _read(shop, "segments")

    assert len(segments) >= 6
    assert _ids(segments, "segment_id")
    for segment in segments:
        _as(Segment, segment)
        assert segment["expression"]


@pytest.mark.parametrize("shop", SHOPS)
def test_triggers_have_the_contract_s_fields_and_one_fires_within_seconds(shop: str) -> None:
    triggers = _read(shop, "triggers")
    delays = [_seconds(trigger.get("delay", "0s")) for trigger in triggers]

    assert _ids(triggers, "trigger_id")
    assert min(delays) <= 5
    assert max(delays) <= 30 * 86400
    for trigger, delay in zip(triggers, delays, strict=True):
        mode = f"TRIGGER_MODE_{trigger.get('mode', 'last_event').upper()}"
        _as(Trigger, {**trigger, "delay": f"{delay}s", "mode": mode})


def test_the_sample_shop_thanks_for_each_order_and_reminds_of_no_cart_that_is_bought() -> None:
    triggers = {trigger["trigger_id"]: trigger for trigger in _read("shop", "triggers")}
    campaigns = {campaign["campaign_id"]: campaign for campaign in _read("shop", "campaigns")}
    thanks = triggers[campaigns["order-thanks"]["trigger_id"]]
    reminders = [t for t in triggers.values() if t["event_name"] == "Product Added"]

    assert "each_event" == thanks["mode"]
    assert reminders
    assert all(
        "Order Completed" in t["unless_event_names"] and t["withdraw_when_answered"] for t in reminders
    )


@pytest.mark.parametrize("shop", SHOPS)
def test_campaigns_name_what_exists(shop: str) -> None:
    campaigns = _read(shop, "campaigns")
    segments = _ids(_read(shop, "segments"), "segment_id")
    triggers = _ids(_read(shop, "triggers"), "trigger_id")
    templates = {folder.name for folder in (EXAMPLES / shop / "templates").iterdir()}

    assert _ids(campaigns, "campaign_id")
    assert templates == {campaign["template_id"] for campaign in campaigns}
    for campaign in campaigns:
        max_age = _seconds(campaign["max_age"])
        stream = f"STREAM_{campaign['stream'].upper()}"
        _as(Campaign, {**campaign, "stream": stream, "max_age": f"{max_age}s"})
        assert ("segment_id" in campaign) != ("trigger_id" in campaign)
        if "segment_id" in campaign:
            assert campaign["segment_id"] in segments
        else:
            assert campaign["trigger_id"] in triggers
        assert campaign.get("recommendations", 0) <= 20
        assert max_age <= 7 * 86400


@pytest.mark.parametrize("folder", TEMPLATES, ids=lambda folder: f"{folder.parts[-3]}-{folder.name}")
@pytest.mark.parametrize("escape", [False, True])
def test_a_template_renders_with_nothing_and_with_everything(folder: Path, escape: bool) -> None:
    assert PARTS == {part.name for part in folder.iterdir()}
    for part in folder.iterdir():
        source, kind = part.read_text(), "html" if escape else "text"
        assert [] == language.check(kind, source)
        bare, full = language.render(kind, source, {}), language.render(kind, source, CONTEXT)
        assert bare.strip()
        assert full.strip()
        if part.name in {"html.liquid", "text.liquid"}:
            assert CONTEXT["unsubscribe_url"] in full
            assert "Unsubscribe" not in bare
        if part.name in {"subject.liquid", "preheader.liquid"}:
            assert "\n" not in full.strip()


@pytest.mark.parametrize("folder", TEMPLATES, ids=lambda folder: f"{folder.parts[-3]}-{folder.name}")
@pytest.mark.parametrize("first_name", ["", "  ", None])
def test_a_product_without_price_or_url_and_a_first_name_that_is_empty_show_nothing_wrong(
    folder: Path, first_name: str | None
) -> None:
    bare = {
        "product_id": "9",
        "name": "Lamp",
        "price": None,
        "url": None,
        "image_url": None,
        "category": None,
    }
    item = {"product_id": "1", "name": "Room spray", "price": "", "url": "", "quantity": "2"}
    context = {
        **CONTEXT,
        "profile": {"id": "p", "traits": {"first_name": first_name}},
        "recommendations": [bare],
        "event": {**item, "revenue": None, "products": [item, {"product_id": "2"}]},
    }
    for part in folder.iterdir():
        shown = language.render("html" if part.stem == "html" else "text", part.read_text(), context)
        for wrong in ("€", "£", "0.00", "href=''", 'href=""', 'src=""', "None", ", !", ", .", ", ,"):
            assert wrong not in shown, (part.name, wrong)


def test_revenue_and_quantity_as_texts_are_shown_as_numbers() -> None:
    part = EXAMPLES / "shop" / "templates" / "order-thanks" / "html.liquid"
    item = {"product_id": "1", "name": "Room spray", "price": "12,50", "quantity": "2"}
    event = {"revenue": "1,299.00", "products": [item]}
    shown = language.render("html", part.read_text(), {**CONTEXT, "event": event})

    assert "€1,299.00" in shown
    assert "€12.50" in shown
    assert "&times; 2" in shown


def test_the_sample_shop_s_mails_have_a_picture_a_logo_and_a_postal_address() -> None:
    context = {**CONTEXT, "event": {**CONTEXT["event"], "category": "Tea"}}
    for one in load(EXAMPLES / "shop").templates:
        rendered = language.render("html", one.message.html, context)
        pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', rendered)
        logo = b64encode((PICTURES / "logo.png").read_bytes()).decode()

        assert "1 Sample Street, 10115 Berlin" in rendered
        assert "1 Sample Street, 10115 Berlin" in one.message.text
        assert logo == pictures[0]
        assert b64encode((PICTURES / "tea.png").read_bytes()).decode() in pictures[1:]


def test_every_mail_has_a_postal_address() -> None:
    for folder in TEMPLATES:
        for part in ("html.liquid", "text.liquid"):
            assert re.search(r"1 Sample (Street|Yard), ", (folder / part).read_text()), folder


def test_the_pictures_are_those_that_the_project_draws_one_for_each_category() -> None:
    drawn = run_path(str(PICTURES / "draw.py"))
    catalog = orjson.loads((EXAMPLES / "shop" / "catalog.json").read_bytes())
    categories = {product["category"].lower() for product in catalog}

    assert {*categories, "logo"} == set(drawn["PICTURES"])
    for name in drawn["PICTURES"]:
        assert drawn["png"](name)[:29] == (PICTURES / f"{name}.png").read_bytes()[:29]
        assert _pixels(drawn["png"](name)) == _pixels((PICTURES / f"{name}.png").read_bytes())


def _pixels(png: bytes) -> bytes:
    """What is packed in it: another zlib may pack it in other words."""
    length = int.from_bytes(png[33:37])
    return zlib.decompress(png[41 : 41 + length])


def test_prices_keep_two_decimals() -> None:
    part = EXAMPLES / "shop" / "templates" / "order-thanks" / "html.liquid"
    rendered = language.render("text", part.read_text(), CONTEXT)

    assert "€12.05" in rendered
    assert "€3.50" in rendered
    assert "€28.05" in rendered


def test_a_name_in_upper_case_is_toned_down() -> None:
    part = EXAMPLES / "online-retail" / "templates" / "order-thanks" / "html.liquid"
    rendered = language.render("text", part.read_text(), CONTEXT)

    assert "White lantern" in rendered


def test_the_catalog_has_about_sixty_products_with_their_own_ids_and_pages() -> None:
    products = orjson.loads((EXAMPLES / "shop" / "catalog.json").read_bytes())

    assert 50 <= len(products) <= 70
    for field in ("product_id", "name", "url"):
        assert len(products) == len({product[field] for product in products})
    assert all(product["url"].startswith("https://shop.example.com/") for product in products)
    assert all(0 < product["price"] < 1000 and product["category"] for product in products)
