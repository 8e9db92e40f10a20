import asyncio
from collections.abc import Sequence
from decimal import Decimal
from random import Random

from msgspec import msgpack

from libs.database import Database
from libs.database.tables import Sweep
from services.recommend.app import SCHEMA, handler_of
from services.recommend.catalog.model import KEPT_DAYS, Facts, Price, Product, Statements, latest_facts
from services.recommend.catalog.sql import SqlProducts, SqlStatements
from services.recommend.interactions.model import (
    MOST_COUNTED,
    Interest,
    Kind,
    Liking,
    Person,
    Touch,
    Update,
    weight_of,
)
from services.recommend.interactions.sql import SqlInteractions, SqlPeople
from services.recommend.registry.model import StoredModel, Trained
from services.recommend.registry.sql import SqlModels
from tests.integration.recommend.steps import apply, ordered, step, viewed
from tests.unit.recommend.fakes import Kept, MemoryHistories, as_read

SECONDS = 1_000_000


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _life(rng: Random, profile_id: str) -> list[Update]:
    kinds = list(Kind)
    return [
        Update(
            profile_id,
            revision,
            touches=[
                Touch(
                    rng.choice(kinds),
                    rng.choice(["lamp", "desk", "chair"]),
                    rng.randrange(1, 9) * SECONDS,
                    f"o{rng.randrange(4)}",
                )
                for _ in range(rng.randrange(3))
            ]
            + [Touch(Kind.REFUNDED, "", SECONDS, f"o{rng.randrange(4)}")] * (rng.random() < 0.1),
            said=_said(_facts(rng)),
        )
        for revision in range(1, rng.randrange(2, 12))
    ]


def _facts(rng: Random) -> Facts:
    names = {("lamp", "name"): (rng.randrange(3), rng.choice(["Lamp", "lamp", "Läm", "Z"]))}
    price = Price(Decimal(rng.randrange(1, 500)) / 100, rng.choice(["", "EUR", "USD"]))
    return {**names, ("desk", "price"): (rng.randrange(3), price)}


def _said(facts: Facts) -> Statements:
    return Statements(frozenset(product_id for product_id, _ in facts), facts)


async def _add(
    database: Database, said: Sequence[Facts], touched: Sequence[str] = (), day: int = 20_000
) -> None:
    """Let the catalog take what was said, in this order, on a day since 1970."""
    async with database.begin() as connection:
        catalog = SqlStatements(connection, lambda: day * 86_400.0)
        for facts in said:
            await catalog.add(_said(facts), ())
        if touched:
            await catalog.add(Statements(), touched)


def _batches(rng: Random, lives: list[list[Update]]) -> list[list[Update]]:
    """All lives in one stream, in batches of which some come twice, and some records never."""
    waiting = [list(life) for life in lives]
    stream = []
    while any(waiting):
        stream.append(rng.choice([life for life in waiting if life]).pop(0))
    batches = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    lossy = [[u for u in batch if rng.random() > 0.05 or u is lives[0][-1]] for batch in batches]
    return [batch for batch in lossy for _ in range(rng.choice([1, 1, 2]))]


async def _stored(database: Database) -> tuple[dict[tuple[str, str], tuple[int, ...]], dict[str, int]]:
    rows = await database.pool.fetch(
        "select profile_id::text, product_id, views, adds, purchases, weight, last_time, cart_time "
        "from recommend.interactions"
    )
    people = await database.pool.fetch("select profile_id::text, revision from recommend.profiles")
    return {(row[0], row[1]): tuple(row)[2:] for row in rows}, dict(map(tuple, people))


async def test_postgresql_keeps_what_memory_does(database: Database) -> None:
    rng = Random(3)
    lives = [_life(rng, _id(number)) for number in range(12)]
    histories = MemoryHistories({life[0].profile_id: life for life in lives})
    memory = Kept(histories)
    handler = handler_of(histories, 1)
    for batch in _batches(rng, lives):
        await memory.follow(batch)
        async with database.begin() as connection:
            await handler.follower(connection).follow(as_read(batch))
    interactions, revisions = await _stored(database)
    products = await SqlProducts(database).some(["lamp", "desk"])

    assert {k: _row(interest) for k, interest in memory.people.interests.items()} == interactions
    assert {k: person.revision for k, person in memory.people.people.items()} == revisions
    assert memory.catalog.said.facts[("lamp", "name")][1] == products["lamp"].name
    assert memory.catalog.said.facts[("desk", "price")][1] == products["desk"].price
    assert histories.asked


def _row(interest: Interest) -> tuple[int, ...]:
    bought = len(interest.purchases)
    times = interest.last_time, interest.cart_time
    return interest.views, interest.adds, bought, weight_of(interest), *times


async def test_the_catalog_takes_each_field_from_whom_said_it_last(database: Database) -> None:
    price = Price(Decimal("2.50"), "EUR")
    await _add(
        database,
        [
            {("lamp", "name"): (2, "Lamp"), ("lamp", "price"): (2, Price(Decimal(3)))},
            {("lamp", "name"): (1, "Old"), ("lamp", "category"): (1, "Light")},
            {("lamp", "price"): (3, price)},
        ],
    )

    lamp = Product("lamp", "Lamp", price, None, None, "Light")
    assert {"lamp": lamp} == await SqlProducts(database).some(["lamp"])


async def test_the_catalog_is_the_same_in_any_order(database: Database) -> None:
    rng = Random(5)
    prices = [Price(Decimal(amount), currency) for amount in (1, 2) for currency in ("", "EUR", "USD")]
    said: list[Facts] = [
        {("lamp", rng.choice(["url", "category"])): (rng.randrange(2), rng.choice("aAzZéß"))}
        for _ in range(60)
    ]
    said += [{("lamp", "price"): (rng.randrange(2), rng.choice(prices))} for _ in range(30)]
    rng.shuffle(said)
    await _add(database, said)
    product = (await SqlProducts(database).some(["lamp"]))["lamp"]

    for (_, name), (_, value) in latest_facts(said).items():
        assert value == getattr(product, name)


async def test_batches_that_name_the_same_products_at_once_do_not_wait_for_each_other(
    database: Database,
) -> None:
    async def write(seed: int) -> None:
        names = [f"product {number}" for number in range(200)]
        Random(seed).shuffle(names)
        days = iter(range(5))
        for number in range(5):
            async with database.begin() as connection:
                catalog = SqlStatements(connection, lambda: next(days) * 86_400.0)
                named = names if number == 0 else names[:100]
                await catalog.add(_said({(n, "name"): (number, n) for n in named}), names)

    await asyncio.gather(*(write(seed) for seed in range(4)))

    assert 200 == await database.pool.fetchval("select count(*) from recommend.products")


async def test_products_that_nobody_mentions_or_touches_are_dropped_after_a_time(database: Database) -> None:
    day = 20_000
    await _add(database, [{(name, "name"): (1, name)} for name in ("gone", "named", "touched")], day=day)
    await _add(database, [{("named", "name"): (1, "named")}], ["touched", "nobody's"], day + 2)
    sweep = Sweep(database, SCHEMA.tables, lambda: (day + 1 + KEPT_DAYS) * 86_400.0)
    kept = [await SqlProducts(database).ids()]
    await sweep.sweep()
    kept.append(await SqlProducts(database).ids())

    assert [{"gone", "named", "touched"}, {"named", "touched"}] == kept


async def test_an_old_event_of_a_product_keeps_it_from_the_day_on_which_it_came(database: Database) -> None:
    await _add(database, [{("lamp", "name"): (1, "Lamp")}], day=20_000)

    await Sweep(database, SCHEMA.tables, lambda: 20_001 * 86_400.0).sweep()
    assert {"lamp"} == await SqlProducts(database).ids()


async def test_an_absorbed_id_answers_with_what_its_last_survivor_touched(database: Database) -> None:
    interest = Interest(views=1, last=SECONDS)
    async with database.begin() as connection:
        await SqlPeople(connection).save(
            [
                Person(_id(1), 2, merged_into=_id(2), anew=True),
                Person(_id(2), 2, merged_into=_id(3), anew=True),
                Person(_id(3), 1, interests={"lamp": interest}, changed={"lamp"}),
            ]
        )
    likings = await SqlInteractions(database).likings([_id(1), _id(2), _id(3), _id(4)])

    liking = [Liking("lamp", 1.0, SECONDS, purchased=False)]
    assert {_id(1): liking, _id(2): liking, _id(3): liking} == likings


async def test_popular_is_what_was_touched_in_the_last_thirty_days(database: Database) -> None:
    day = 86_400 * SECONDS
    interests = {
        "old": Interest(views=9, last=day),
        "lamp": Interest(views=1, last=40 * day),
        "desk": Interest(adds=1, last=32 * day),
        "back": Interest(orders={"o": 40 * day}, refunds={"o"}),
    }
    async with database.begin() as connection:
        await SqlPeople(connection).save([Person(_id(1), 1, interests=interests, changed=set(interests))])

    assert [("desk", 3.0), ("lamp", 1.0)] == [
        (s.product_id, s.weight) for s in await SqlInteractions(database).popular()
    ]


async def test_one_person_makes_nothing_popular(database: Database) -> None:
    """A script with a public key that views, adds and orders one product all day."""
    day = 86_400 * SECONDS
    stuffed = Interest(views=5000, adds=5000, last=day, orders={f"o{n}": day for n in range(5000)})
    people = [Person(_id(1), 1, interests={"stuffed": stuffed}, changed={"stuffed"})]
    people += [
        Person(_id(n), 1, interests={"lamp": Interest(orders={"o": day})}, changed={"lamp"})
        for n in (2, 3, 4)
    ]
    async with database.begin() as connection:
        await SqlPeople(connection).save(people)

    assert [("lamp", 15.0), ("stuffed", MOST_COUNTED)] == [
        (one.product_id, one.weight) for one in await SqlInteractions(database).popular()
    ]


async def test_a_column_that_a_later_version_adds_disturbs_nothing(database: Database) -> None:
    for table in ("profiles", "interactions", "products", "models", "operations"):
        await database.pool.execute(f"alter table recommend.{table} add column later text default 'x'")
    steps = [step(_id(n), 1, viewed("lamp", name="Lamp"), ordered("o", "desk")) for n in (1, 2)]
    await apply(database, *steps)
    models = SqlModels(database)
    trained = await models.add(Trained(1, 1, 1, {"recall@20": 0.5}, b"graph", ["lamp"]))

    assert {"lamp", "desk"} == (await SqlProducts(database).ids())
    assert ["desk", "lamp"] == sorted(
        liking.product_id for liking in (await SqlInteractions(database).likings([_id(1)]))[_id(1)]
    )
    assert [trained] == await models.page(10, 5)
    assert StoredModel(1, b"graph", ["lamp"]) == await models.newer_than(0, ())


async def test_states_of_the_version_before_are_read(database: Database) -> None:
    """A replica of the version before writes no `carted`, one of the next may write more than we know."""
    await apply(database, step(_id(1), 1, viewed("lamp")))
    before = {"views": 3, "adds": 0, "first": SECONDS, "last": SECONDS, "orders": {}, "refunds": []}
    for state in (before, {**before, "views": 4, "wishes": 2}):
        await database.pool.execute("update recommend.interactions set state = $1", msgpack.encode(state))
        entries = [interest async for _, _, interest in SqlInteractions(database).all()]

        assert [Interest(state["views"], 0, SECONDS, SECONDS)] == entries
