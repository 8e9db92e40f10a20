"""The sample shop's people: who they are, what they like, and how often they come."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeVar
from uuid import UUID

from cli.replay.shop_catalog import Catalog

HISTORY_DAYS = 26 * 7

T = TypeVar("T")

_FIRST_NAMES = (
    "Ada Amir Anna Ben Bruno Carla Chloe Daniel Diego Elena Emil Emma Farah Felix Fiona Greta Hana Hugo "
    "Ines Ivan Jakob Jana Joana Jonas Julia Kai Lars Lea Leo Lina Luca Mara Marta Maya Mila Nadia Nils "
    "Nina Noah Nora Olga Oscar Paul Petra Rosa Ruben Samir Sara Sofia Stefan Tara Theo Tom Vera Yara"
)
_LAST_NAMES = (
    "Adler Almeida Bauer Berg Blanc Brandt Carter Castro Conti Costa Dahl Dubois Egger Ferrari Fischer "
    "Garcia Hansen Hughes Ivanov Jensen Keller Kowalski Lang Larsen Laurent Lopez Marino Martin Meyer "
    "Moreau Nielsen Novak Olsen Pereira Petit Popescu Quinn Reed Ricci Romero Roth Santos Schmidt Silva "
    "Sommer Stone Tanaka Urban Varga Vidal Wagner Walsh Weber Winter Young Zimmer"
)
_COUNTRIES = {"Germany": 30, "France": 18, "United Kingdom": 16, "Spain": 12, "Netherlands": 10, "Austria": 8,
              "Portugal": 6}  # fmt: skip

Kind = Literal["member", "guest", "anonymous"]


@dataclass(slots=True)
class Person:
    """Somebody who visits the shop, and how far the shop knows them by now."""

    number: int
    kind: Kind
    first_name: str
    last_name: str
    country: str
    devices: list[str]
    likes: tuple[str, ...]
    consents: bool
    opens: float
    rng: Random

    signed_up: bool = False
    unsubscribed: bool = False
    busy: bool = False
    visits: int = 0
    orders: int = 0
    logged_in: set[str] = field(default_factory=set)

    @property
    def user_id(self) -> str:
        return f"user-{self.number:05d}"

    @property
    def email(self) -> str:
        return f"{self.first_name}.{self.last_name}.{self.number}@example.com".lower()

    @property
    def reachable(self) -> bool:
        return self.signed_up and self.consents and not self.unsubscribed


def people(seed: int, count: int, catalog: Catalog) -> Iterator[Person]:
    """Makes the same people for the same seed, whenever the history ends and however many there are."""
    for number in range(1, count + 1):
        rng = Random(f"{seed}/{number}")
        yield Person(
            number=number,
            kind=_drawn(rng, {"member": 66, "guest": 12, "anonymous": 22}),
            first_name=rng.choice(_FIRST_NAMES.split()),
            last_name=rng.choice(_LAST_NAMES.split()),
            country=_drawn(rng, _COUNTRIES),
            devices=[_uuid(rng) for _ in range(_drawn(rng, {1: 65, 2: 28, 3: 7}))],
            likes=tuple(rng.sample(catalog.categories, rng.randint(1, 2))),
            consents=rng.random() < 0.82,
            opens=rng.betavariate(2, 4),
            rng=rng,
        )


def visit_days(rng: Random) -> list[float]:
    """Draws on which days of the history somebody comes, with fractions: loyal, new, lapsing or casual."""
    habit = _drawn(rng, {"loyal": 25, "new": 20, "lapsing": 35, "casual": 20})
    first, last, visits = rng.uniform(0, HISTORY_DAYS), float(HISTORY_DAYS), rng.randint(1, 2)
    if habit == "loyal":
        first, visits = rng.uniform(0, 60), rng.randint(6, 16)
    elif habit == "new":
        first, visits = HISTORY_DAYS - rng.uniform(0, 35), rng.randint(1, 6)
    elif habit == "lapsing":
        first = rng.uniform(0, 110)
        last, visits = first + rng.uniform(20, 70), rng.randint(2, 8)
    return [rng.uniform(first, last) for _ in range(visits)]


def _drawn(rng: Random, weights: dict[T, int]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
