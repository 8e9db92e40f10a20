"""Makes up the history of a small shop: the same one for the same seed and end."""

import heapq
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path
from random import Random

from cli.replay import shop_catalog
from cli.replay.call import Call, SourcedCall, to_timestamp
from cli.replay.shop_people import HISTORY_DAYS, Person, people, visit_days
from cli.replay.shop_visits import BACKEND, WEBSITE, Outcome, Visit
from libs.errors import Invalid

PEOPLE = 2000
EXAMPLES = Path(__file__).parents[2] / "examples" / "shop"

_HOUR_WEIGHTS = (1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 10, 12, 11, 9, 9, 9, 10, 12, 15, 17, 15, 9, 4)
_WEEKDAY_CHANCES = (0.85, 0.7, 0.75, 0.8, 0.7, 0.9, 1.0)
_TUESDAY = 1
_LATE_SHARE = 0.004
_RESENT_SHARE = 0.004
# Seconds before the end at which the last visits begin; they take a minute or so.
_LAST_ORDERS = (300, 270, 240, 210, 180, 120)
_LAST_CARTS = (285, 225, 195, 165, 140, 110, 90, 75)

_Action = Callable[[datetime], None]


def calls(seed: int, end: datetime, scale: float = 1.0) -> Iterator[SourcedCall]:
    """Yields about 60,000 calls of 2,000 people, times `scale`, in the order in which they are made.

    A few are late: their own time is hours before. A few are made twice, with one message id.
    """
    if end.tzinfo is None:
        raise Invalid("end", "needs a time zone")
    if not 0 < scale < inf:
        raise Invalid("scale", "must be above 0")
    yield from _Shop(seed, end.astimezone(UTC), max(round(PEOPLE * scale), 20)).calls()


class _Shop:
    """A queue by time of what is to happen: visits and newsletters, which put calls into it, and calls."""

    def __init__(self, seed: int, end: datetime, count: int) -> None:
        self._end = end
        self._start = end - timedelta(days=HISTORY_DAYS)
        self._catalog = shop_catalog.load(EXAMPLES / "catalog.json")
        self._people = list(people(seed, count, self._catalog))
        # Another end makes another history: its calls must not pass for those of the first.
        name = f"{seed}/{to_timestamp(end)}/{count}"
        self._id = sha256(name.encode()).hexdigest()[:12]
        self._rng = Random(name)
        self._queue: list[tuple[datetime, int, _Action | SourcedCall]] = []
        self._pushed = 0
        self._made = 0

    def calls(self) -> Iterator[SourcedCall]:
        self._plan()
        while self._queue:
            time, _, item = heapq.heappop(self._queue)
            if time > self._end:
                return
            if callable(item):
                item(time)
            else:
                yield item

    def _plan(self) -> None:
        for person in self._people:
            for day in visit_days(person.rng):
                self._push(self._rhythmic(day, person.rng), partial(self._visit, person))
        tuesday = (_TUESDAY - self._midnight(0).weekday()) % 7
        for day in range(tuesday, HISTORY_DAYS, 7):
            self._push(self._midnight(day) + timedelta(hours=9), self._newsletter)
        for seconds in _LAST_ORDERS:
            self._push(self._end - timedelta(seconds=seconds), partial(self._last_visit, "order"))
        for seconds in _LAST_CARTS:
            self._push(self._end - timedelta(seconds=seconds), partial(self._last_visit, "abandon"))

    def _visit(self, person: Person, time: datetime, outcome: Outcome = "open") -> None:
        for step in Visit(person, self._catalog, outcome).steps():
            time += timedelta(seconds=step.after)
            self._call(time, step.source, step.call)

    def _last_visit(self, outcome: Outcome, time: datetime) -> None:
        """The shop is never still when the history ends, and whoever is there can be written to."""
        here = [person for person in self._people if person.reachable and not person.busy]
        members = [person for person in self._people if person.kind == "member" and person.consents]
        person = self._rng.choice(here or members)
        person.busy = True
        self._visit(person, time, outcome)

    def _newsletter(self, time: datetime) -> None:
        campaign = f"newsletter-{time:%Y-%m-%d}"
        for person in self._people:
            if not person.reachable or person.rng.random() > person.opens:
                continue
            opened = time + timedelta(hours=person.rng.expovariate(1 / 6))
            email = {"email_id": f"{campaign}-{person.number:05d}", "campaign_id": campaign}
            self._email(person, opened, "Email Opened", email)
            if person.rng.random() < 0.22:
                clicked = opened + timedelta(seconds=person.rng.uniform(5, 90))
                url = {"link_url": "https://shop.example.com/new"}
                self._email(person, clicked, "Email Link Clicked", {**email, **url})
                self._push(clicked, partial(self._visit, person))
            elif person.rng.random() < 0.008:
                person.unsubscribed = True
                self._email(person, opened + timedelta(seconds=40), "Unsubscribed", email)

    def _email(self, person: Person, time: datetime, event: str, properties: dict[str, str]) -> None:
        self._call(time, BACKEND, {
            "type": "track",
            "userId": person.user_id,
            "event": event,
            "properties": properties,
            "context": {"traits": {"email": person.email}},
        })  # fmt: skip

    def _call(self, time: datetime, source: str, content: Call) -> None:
        self._made += 1
        call = {**content, "messageId": f"{self._id}-{self._made:07d}", "timestamp": to_timestamp(time)}
        fate = self._rng.random()
        if fate < _LATE_SHARE and source == WEBSITE:
            # A telephone without a network keeps its calls.
            time += timedelta(hours=self._rng.uniform(2, 9))
        elif fate > 1 - _RESENT_SHARE:
            # A browser that got no answer sends again what has arrived.
            self._push(time + timedelta(seconds=self._rng.uniform(2, 240)), (source, call))
        self._push(time, (source, call))

    def _push(self, time: datetime, item: _Action | SourcedCall) -> None:
        self._pushed += 1
        heapq.heappush(self._queue, (time, self._pushed, item))

    def _rhythmic(self, day: float, rng: Random) -> datetime:
        """Moves a visit to a likely weekday and time of day."""
        midnight = self._midnight(int(day))
        while rng.random() > _WEEKDAY_CHANCES[midnight.weekday()]:
            midnight += timedelta(days=1)
        hour = rng.choices(range(24), _HOUR_WEIGHTS)[0]
        return midnight + timedelta(hours=hour, seconds=rng.randrange(3600))

    def _midnight(self, day: int) -> datetime:
        """Days begin at midnight, so that the history's first is cut short."""
        time = self._start + timedelta(days=day + 1)
        return time.replace(hour=0, minute=0, second=0, microsecond=0)
