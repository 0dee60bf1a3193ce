"""Selection among several tariffs for a charge that begins now, by outlet and resident. Pure.

There is always one: the base tariff applies to all residents and outlets at all times. Among the tariffs that fit, one
for the resident's group precedes one for the outlet, which precedes one for all; of two equals, the one that came into
force last.
"""

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from cabinet.billing.tariff import Tariff

ALWAYS = 1 << 40  # a day that is never reached


class PostedTariff(msgspec.Struct, frozen=True):
    """A tariff and its scope. Empty `outlets` or `groups`: all. Days are `datetime.date` ordinals, both included.

    `source` is its origin, for messages.
    """

    tariff: Tariff
    source: str
    outlets: frozenset[int] = frozenset()
    groups: frozenset[str] = frozenset()
    from_day: int = 0
    until_day: int = ALWAYS

    def fits(self, outlet: int, group: str, day: int) -> bool:
        return (
            (not self.outlets or outlet in self.outlets)
            and (not self.groups or group in self.groups)
            and self.from_day <= day <= self.until_day
        )

    @property
    def rank(self) -> tuple[bool, bool, int]:
        return bool(self.groups), bool(self.outlets), self.from_day


def choose(posted: Sequence[PostedTariff], outlet: int, group: str, day: int) -> Tariff:
    """Return the tariff of a charge that begins on `day`; `posted` includes the base tariff."""
    return max((each for each in posted if each.fits(outlet, group, day)), key=lambda each: each.rank).tariff


def clashes(posted: Sequence[PostedTariff]) -> Iterator[tuple[PostedTariff, PostedTariff, str]]:
    """Yield pairs that could both apply to one charge, or that a receipt could not distinguish; and the reason."""
    for one, other in itertools.combinations(posted, 2):
        if one.tariff.version == other.tariff.version:
            yield one, other, f"both are version {one.tariff.version!r}, which is printed on receipts"
        elif one.rank == other.rank and _meet(one, other):
            yield one, other, "both are for the same outlets and residents from the same day"


def _meet(one: PostedTariff, other: PostedTariff) -> bool:
    """Return whether a charge exists that both fit."""
    return (
        (not one.outlets or not other.outlets or bool(one.outlets & other.outlets))
        and (not one.groups or not other.groups or bool(one.groups & other.groups))
        and one.from_day <= other.until_day
        and other.from_day <= one.until_day
    )
