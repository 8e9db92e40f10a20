"""Money as contracts carry it."""

from decimal import Decimal
from typing import Final

from tessera.type.v1.money_pb2 import Money

_NANOS: Final = Decimal(1_000_000_000)


def money_pb(amount: Decimal, currency: str) -> Money:
    """To the contract, to nine decimal places; ValueError where it has more than 18 digits before them."""
    units, nanos = divmod(abs(int((amount * _NANOS).to_integral_value())), int(_NANOS))
    sign = -1 if amount < 0 else 1
    return Money(currency_code=currency, units=sign * units, nanos=sign * nanos)


def amount_of(money: Money) -> Decimal:
    """The amount that the contract carries."""
    return money.units + money.nanos / _NANOS
