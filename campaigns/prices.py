"""Random sessions under random tariffs, each priced a second time by an oracle with fractions and sets of minutes.

The oracle shares only the input structures with `billing/tariff.py`. It rounds down at each line of the bill. It also
checks the promises before the charge: no session costs more than its bound, and the use that a budget covers costs no
more than the budget, for any course of the power.
"""

import datetime
import math
import random
from fractions import Fraction

from cabinet.billing.cover import bound_fen, cover, package_bound_fen, package_cover
from cabinet.billing.tariff import (
    Band,
    Package,
    Period,
    Slice,
    Tariff,
    Use,
    add_slice,
    no_use,
    parts_fen,
    price,
    total_fen,
)
from campaigns.runner import Campaign, Outcome, main

SESSIONS = 200  # per seed
DAY = 1440
NEW_YEAR = datetime.date(2027, 1, 1).toordinal()
MAX_W = 1500


def oracle_fen(tariff: Tariff, pieces: list[Slice]) -> int:
    """Return the price of these pieces of a session."""
    times = dict.fromkeys(range(len(tariff.bands)), Fraction(0))
    energies = dict.fromkeys(range(len(tariff.periods)), Fraction(0))
    for piece in pieces:
        if piece.charging_ms:
            mean_w = Fraction(piece.energy_mwh * 3600, piece.charging_ms)
            (band,) = [i for i, b in enumerate(tariff.bands) if b.from_w <= mean_w < (b.to_w or math.inf)]
            times[band] += Fraction(piece.charging_ms, 1000)
        cheapest = min(_touched(tariff, piece.minutes), key=lambda i: (tariff.periods[i].electricity_fen, i))
        energies[cheapest] += Fraction(piece.energy_mwh, 1_000_000)
    charged_s = sum(times.values())
    total = tariff.start_fee_fen if charged_s else 0
    total += _time_fen(tariff, times)
    for i, kwh in energies.items():
        total += math.floor(_as_shown(kwh) * tariff.periods[i].electricity_fen / tariff.priced_kwh)
    total += math.floor(_as_shown(sum(energies.values(), Fraction(0))) * tariff.service_fen / tariff.priced_kwh)
    if math.floor(charged_s) < tariff.free_minutes * 60:
        return 0
    if total:
        total = max(total, tariff.minimum_fen)
    return total if tariff.cap_fen is None else min(total, tariff.cap_fen)


def _as_shown(kwh: Fraction) -> Fraction:
    """Round down to the three decimals of a receipt."""
    return Fraction(math.floor(kwh * 1000), 1000)


def _time_fen(tariff: Tariff, times: dict[int, Fraction]) -> int:
    whole_s = {i: math.floor(seconds) for i, seconds in times.items() if seconds >= 1}
    package = tariff.package
    if package is not None:
        worth = {i: Fraction(100 * package.fen, tariff.bands[i].package_percent * package.bought_s) for i in whole_s}
        return min(package.fen, sum(min(package.fen, math.floor(s * worth[i])) for i, s in whole_s.items()))
    if whole_s:
        steps = math.ceil(Fraction(sum(whole_s.values()), tariff.time_step_s))
        cheapest = min(whole_s, key=lambda i: (tariff.bands[i].fen_per_hour, i))
        whole_s[cheapest] += steps * tariff.time_step_s - sum(whole_s.values())
    return sum(math.floor(Fraction(s * tariff.bands[i].fen_per_hour, 3600)) for i, s in whole_s.items())


def _touched(tariff: Tariff, minutes: tuple[int, int] | None) -> set[int]:
    if minutes is None:
        return set(range(len(tariff.periods)))
    touched = set()
    for minute in range(min(minutes), max(minutes) + 1):
        date = datetime.date.fromordinal(minute // DAY)
        at_weekend = tariff.weekends_are_holidays and date.isoweekday() > 5
        rest = date.toordinal() in tariff.holidays or (at_weekend and date.toordinal() not in tariff.workdays)
        for i, period in enumerate(tariff.periods):
            applies = period.days in ("every", "holiday" if rest else "workday")
            if applies and period.start_minute <= minute % DAY < period.end_minute:
                touched.add(i)
    return touched


def random_tariff(chance: random.Random) -> Tariff:
    """Return a random complete tariff, as every one that passes the configuration check; prices from 0 to high."""
    edges = sorted(chance.sample(range(1, MAX_W), chance.randrange(5)))
    bands = tuple(
        Band(start, end, _fen(chance), chance.choice((100, 100, 75, 50, 25)))
        for start, end in zip([0, *edges], [*edges, None], strict=True)
    )
    kinds = ("workday", "holiday") if chance.random() < 0.4 else ("every",)
    periods: list[Period] = []
    for days in kinds:
        hours = sorted(chance.sample(range(1, DAY), chance.randrange(4)))
        periods += [Period(a, b, _fen(chance), days) for a, b in zip([0, *hours], [*hours, DAY], strict=True)]  # type: ignore[arg-type]
    minimum = chance.choice((0, 0, 10, 200))
    bought = Package(3600 * chance.randrange(1, 13), chance.randrange(1, 1500)) if chance.random() < 0.25 else None
    return Tariff(
        version="any",
        bands=bands,
        periods=tuple(periods),
        start_fee_fen=chance.choice((0, 0, 30)),
        priced_kwh=chance.choice((1, 100)),
        service_fen=_fen(chance),
        free_minutes=chance.choice((0, 0, 5)),
        minimum_fen=minimum,
        cap_fen=chance.choice((None, chance.randrange(minimum, 2000))),
        time_step_s=chance.choice((1, 1, 60, 1800)),
        holidays=tuple(sorted(NEW_YEAR + day for day in chance.sample(range(30), 4))),
        workdays=tuple(sorted(NEW_YEAR + day for day in chance.sample(range(30), 4))),
        weekends_are_holidays=chance.random() < 0.5,
        package=bought,
    )


def _fen(chance: random.Random) -> int:
    return chance.choice((0, chance.randrange(200), chance.randrange(1000)))


def random_pieces(chance: random.Random) -> list[Slice]:
    """Return random slices: checkpoints of seconds, some of hours, some without a trusted clock."""
    pieces = []
    minute = NEW_YEAR * DAY + chance.randrange(30 * DAY)
    for _ in range(chance.randrange(7)):
        charging_ms = chance.choice((0, chance.randrange(20_000), chance.randrange(36_000_000)))
        mean_w = chance.choice((0, chance.randrange(MAX_W), chance.choice((199, 200, 201, 400))))
        energy_mwh = mean_w * charging_ms // 3600 + chance.randrange(3)
        later = minute + charging_ms // 60_000 + chance.choice((0, 1, -60))
        pieces.append(Slice(charging_ms, energy_mwh, None if chance.random() < 0.1 else (minute, later)))
        minute = max(minute, later) + chance.choice((0, 0, 1, 700))
    return pieces


def scenario(seed: int, verbose: bool) -> Outcome:
    chance = random.Random(seed)
    problems: list[str] = []
    for number in range(SESSIONS):
        tariff, pieces = random_tariff(chance), random_pieces(chance)
        found = [*_wrong_price(tariff, pieces), *_broken_promise(tariff, pieces, chance)]
        if verbose and found:
            print(f"session {number}: {tariff}\n  {pieces}")
        problems += [f"session {number}: {problem}" for problem in found]
    return Outcome(seed, tuple(problems), SESSIONS)


def _wrong_price(tariff: Tariff, pieces: list[Slice]) -> list[str]:
    lines = price(tariff, _booked(tariff, pieces))
    wanted, found = oracle_fen(tariff, pieces), total_fen(lines)
    problems = [] if wanted == found else [f"costs {found} fen, the oracle says {wanted}"]
    if min((0, *parts_fen(lines))) < 0 or sum(parts_fen(lines)) != found:
        problems.append(f"its parts {parts_fen(lines)} are not {found} fen")
    return problems


def _broken_promise(tariff: Tariff, pieces: list[Slice], chance: random.Random) -> list[str]:
    use = _booked(tariff, pieces)
    problems = []
    if use.charging_ms and use.energy_mwh * 3600 <= MAX_W * use.charging_ms:
        bound = bound_fen(tariff, math.ceil(use.charging_ms / 1000), MAX_W)
        if total_fen(price(tariff, use)) > bound:
            problems.append(f"costs more than its bound of {bound} fen")
    if tariff.package is not None and _inside(tariff, tariff.package, use):
        bound = package_bound_fen(tariff, tariff.package, MAX_W)
        if total_fen(price(tariff, use)) > bound:
            problems.append(f"costs more than its package can: {bound} fen")
    before = pieces[: len(pieces) // 2]
    spent = total_fen(price(tariff, _booked(tariff, before)))
    budget_fen = max(chance.randrange(3000), spent, tariff.minimum_fen)
    taken = _within(tariff, before, pieces[len(before) :], budget_fen, chance.randrange(1, MAX_W))
    if taken is not None and total_fen(price(tariff, taken)) > budget_fen:
        problems.append(f"{budget_fen} fen were said to cover it: {total_fen(price(tariff, taken))}")
    return problems


def _within(tariff: Tariff, before: list[Slice], after: list[Slice], budget_fen: int, expected_w: int) -> Use | None:
    """Return the use after all of `after` that budget and package are said to cover; None if they cover none."""
    use = _booked(tariff, before)
    covers = [cover(tariff, use, budget_fen, expected_w)]
    if tariff.package is not None:
        covers.append(package_cover(tariff, tariff.package, use, expected_w))
    time_ms, energy_mwh, any_taken = 0, 0, False
    for piece in after:
        time_ms, energy_mwh = time_ms + piece.charging_ms, energy_mwh + piece.energy_mwh
        if any(each and (time_ms > 1000 * each.charging_s or energy_mwh > each.energy_mwh) for each in covers):
            break
        use, any_taken = add_slice(tariff, use, piece), True
    return use if any_taken else None


def _inside(tariff: Tariff, package: Package, use: Use) -> bool:
    used_ms = sum(Fraction(100 * ms, band.package_percent) for ms, band in zip(use.band_ms, tariff.bands, strict=True))
    return used_ms <= 1000 * package.bought_s and use.energy_mwh * 3600 <= MAX_W * use.charging_ms


def _booked(tariff: Tariff, pieces: list[Slice]) -> Use:
    use = no_use(tariff)
    for piece in pieces:
        use = add_slice(tariff, use, piece)
    return use


CAMPAIGN = Campaign(
    name="prices",
    module="campaigns.prices",
    counted="sessions",
    scenario=scenario,
    whole=500,
    quick=4,
    promise="to the fen what an oracle in fractions says; never more than was promised before the charge",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
