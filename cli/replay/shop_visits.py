"""What one person does in the sample shop during one visit."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from cli.replay.call import Call
from cli.replay.shop_catalog import CURRENCY, Catalog, Product
from cli.replay.shop_people import Person

WEBSITE = "website"
BACKEND = "backend"

Outcome = Literal["open", "order", "abandon"]


class Step(NamedTuple):
    """A call, and how many seconds after the one before it is made."""

    after: float
    source: str
    call: Call


class Visit:
    """A visit from one device; `outcome` says whether chance decides how it ends."""

    def __init__(self, person: Person, catalog: Catalog, outcome: Outcome = "open") -> None:
        self._person = person
        self._catalog = catalog
        self._outcome = outcome
        self._rng = person.rng
        self._device = person.rng.choice(person.devices)
        person.visits += 1
        self._cart_id = f"cart-{person.number:05d}-{person.visits}"

    def steps(self) -> Iterator[Step]:
        if self._person.kind == "member" and (self._scripted or self._rng.random() < 0.3):
            yield from self._log_in()
        basket: list[Product] = []
        picks = (self._catalog.pick(self._person.likes, self._rng) for _ in range(self._rng.randint(1, 5)))
        for product in dict.fromkeys(picks):
            if product not in basket:
                yield from self._look_at(product, basket)
        if not basket:
            return
        if self._orders():
            yield from self._check_out(basket)
        elif not self._scripted and self._rng.random() < 0.25:
            yield self._track("Checkout Started", self._cart(basket))

    @property
    def _scripted(self) -> bool:
        return self._outcome != "open"

    def _orders(self) -> bool:
        if self._scripted or self._person.kind == "anonymous":
            return self._outcome == "order"
        return self._rng.random() < 0.58

    def _look_at(self, product: Product, basket: list[Product]) -> Iterator[Step]:
        yield self._track("Product Viewed", _shown(product))
        if self._rng.random() >= 0.26 and (basket or not self._scripted):
            return
        yield self._add(product, basket)
        companion = self._catalog.companion(product)
        if companion not in basket and self._rng.random() < 0.35:
            yield self._track("Product Viewed", _shown(companion))
            if self._rng.random() < 0.7:
                yield self._add(companion, basket)

    def _add(self, product: Product, basket: list[Product]) -> Step:
        basket.append(product)
        return self._track("Product Added", {"cart_id": self._cart_id, **_shown(product), "quantity": 1})

    def _check_out(self, basket: list[Product]) -> Iterator[Step]:
        person = self._person
        if person.kind == "member":
            yield from self._log_in()
        yield self._track("Checkout Started", self._cart(basket))
        context: dict[str, Any] = {}
        if person.kind == "guest":
            # All that is known of a guest is an address, typed at the checkout.
            yield self._step(WEBSITE, "identify", traits={"email": person.email})
            context = {"context": {"traits": {"email": person.email}}}
        person.orders += 1
        order = {"order_id": f"S-{person.number:05d}-{person.orders}", **self._cart(basket)}
        yield self._step(BACKEND, "track", event="Order Completed", properties=order, **context)
        if person.kind == "member" and person.orders == 3:
            yield self._about_user(traits={"plan": "club"})

    def _log_in(self) -> Iterator[Step]:
        person = self._person
        if self._device in person.logged_in:
            return
        person.logged_in.add(self._device)
        names = {"first_name": person.first_name, "last_name": person.last_name}
        yield self._step(WEBSITE, "identify", traits={"email": person.email, **names})
        if person.signed_up:
            return
        person.signed_up = True
        yield self._track("Signed Up", {"method": "email"})
        traits = {"email": person.email, **names, "country": person.country, "plan": "free"}
        consent = {"categoryPreferences": {"email_marketing": person.consents}}
        yield self._about_user(traits=traits, context={"consent": consent})

    def _about_user(self, **content: object) -> Step:
        """What the customer database says knows nothing of devices."""
        call: Call = {"type": "identify", "userId": self._person.user_id, **content}
        return Step(self._pause(), BACKEND, call)

    def _track(self, event: str, properties: dict[str, Any]) -> Step:
        return self._step(WEBSITE, "track", event=event, properties=properties)

    def _step(self, source: str, kind: str, **content: object) -> Step:
        call: Call = {"type": kind, "anonymousId": self._device}
        if self._device in self._person.logged_in:
            call["userId"] = self._person.user_id
        return Step(self._pause(), source, {**call, **content})

    def _pause(self) -> float:
        return self._rng.uniform(2, 8) if self._scripted else self._rng.uniform(6, 80)

    def _cart(self, basket: list[Product]) -> dict[str, Any]:
        products = [{**_shown(product), "quantity": 1} for product in basket]
        revenue = round(sum(product.price for product in basket), 2)
        return {"cart_id": self._cart_id, "revenue": revenue, "currency": CURRENCY, "products": products}


def _shown(product: Product) -> dict[str, Any]:
    return product._asdict()
