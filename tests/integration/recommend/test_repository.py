import asyncio
from random import Random

from libs.database import Database
from services.recommend.domain import (
    FIELDS,
    Facts,
    Interest,
    Kind,
    Liking,
    Person,
    Product,
    Touch,
    Update,
    latest_facts,
)
from services.recommend.handlers import apply_updates
from services.recommend.repository import SqlPeople, SqlShop
from tests.unit.recommend.fakes import MemoryHistories, MemoryPeople

SECONDS = 1_000_000


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _life(rng: Random, profile_id: str) -> list[Update]:
    kinds = [Kind.VIEWED, Kind.ADDED, Kind.ORDERED, Kind.REFUNDED]
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
            facts=_facts(rng),
        )
        for revision in range(1, rng.randrange(2, 12))
    ]


def _facts(rng: Random) -> Facts:
    names = {("lamp", "name"): (rng.randrange(3), rng.choice(["Lamp", "lamp", "Läm", "Z"]))}
    return {**names, ("desk", "price"): (rng.randrange(3), rng.random())}


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
        "select profile_id::text, product_id, views, adds, purchases, weight, last_time "
        "from recommend.interactions"
    )
    people = await database.pool.fetch("select profile_id::text, revision from recommend.profiles")
    return {(row[0], row[1]): tuple(row)[2:] for row in rows}, dict(map(tuple, people))


async def test_postgresql_keeps_what_memory_does(database: Database) -> None:
    rng = Random(3)
    lives = [_life(rng, _id(number)) for number in range(12)]
    histories = MemoryHistories({life[0].profile_id: life for life in lives})
    memory = MemoryPeople()
    for batch in _batches(rng, lives):
        await apply_updates(memory, histories, batch)
        async with database.begin() as connection:
            await apply_updates(SqlPeople(connection), histories, batch)
    interactions, revisions = await _stored(database)
    products = await SqlShop(database).products(["lamp", "desk"])

    assert {k: _row(interest) for k, interest in memory.interests.items()} == interactions
    assert {k: person.revision for k, person in memory.people.items()} == revisions
    assert memory.catalog[("lamp", "name")][1] == products["lamp"].name
    assert memory.catalog[("desk", "price")][1] == products["desk"].price
    assert histories.asked


def _row(interest: Interest) -> tuple[int, ...]:
    bought = len(interest.purchases)
    weight = interest.views + 3 * interest.adds + 5 * bought
    return interest.views, interest.adds, bought, weight, interest.last_time


async def test_the_catalog_takes_each_field_from_whom_said_it_last(database: Database) -> None:
    async with database.begin() as connection:
        people = SqlPeople(connection)
        await people.list_products({("lamp", "name"): (2, "Lamp"), ("lamp", "price"): (2, 3.0)})
        await people.list_products({("lamp", "name"): (1, "Old"), ("lamp", "category"): (1, "Light")})
        await people.list_products({("lamp", "price"): (3, 2.5)})

    assert {"lamp": Product("lamp", "Lamp", 2.5, "", "", "Light")} == await SqlShop(database).products(
        ["lamp"]
    )


async def test_the_catalog_is_the_same_in_any_order(database: Database) -> None:
    rng = Random(5)
    said: list[Facts] = [
        {("lamp", rng.choice(FIELDS[2:])): (rng.randrange(2), rng.choice("aAzZéß"))} for _ in range(60)
    ]
    async with database.begin() as connection:
        for facts in said:
            await SqlPeople(connection).list_products(facts)
    product = (await SqlShop(database).products(["lamp"]))["lamp"]

    for (_, name), (_, value) in latest_facts(said).items():
        assert value == getattr(product, name)


async def test_batches_that_name_the_same_products_at_once_do_not_wait_for_each_other(
    database: Database,
) -> None:
    async def write(seed: int) -> None:
        names = [f"product {number}" for number in range(200)]
        Random(seed).shuffle(names)
        for time in range(5):
            async with database.begin() as connection:
                await SqlPeople(connection).list_products({(n, "name"): (time, n) for n in names})

    await asyncio.gather(*(write(seed) for seed in range(4)))

    assert 200 == await database.pool.fetchval("select count(*) from recommend.products")


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
    likings = await SqlShop(database).likings([_id(1), _id(2), _id(3), _id(4)])

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
        await SqlPeople(connection).save([Person(_id(1), 1, None, set(), interests, set(interests))])

    assert [("desk", 3.0), ("lamp", 1.0)] == [
        (s.product_id, s.score) for s in await SqlShop(database).popular()
    ]
