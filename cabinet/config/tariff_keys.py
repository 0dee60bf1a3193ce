"""Keys of a tariff: of `[tariff]` in `cabinet.toml`, and of a tariff file, which adds dates, outlets and groups.

Prices are in fen, whole except per kWh. docs/tariffs.md works out the effect of each key on a receipt.
"""

import datetime
from typing import Annotated

from msgspec import Meta

from cabinet.sections import Section, number, text

CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
DAYS = tuple[datetime.date, ...]


class PowerBandSection(Section, frozen=True, kw_only=True):
    """Price of an hour of charging while the power is in [from_w, to_w)."""

    from_w: Annotated[int, number("band begins here, inclusive", least=0, most=10_000)]
    to_w: Annotated[
        Annotated[int, number("as from_w", least=1, most=10_000)] | None,
        Meta(description="band ends here, exclusive; left out: no upper end"),
    ] = None
    fen_per_hour: Annotated[int, number("price of an hour in this band", least=0, most=100_000)]
    package_percent: Annotated[
        int, number("an hour in this band uses up 100 / so many hours of a package", least=10, most=100)
    ] = 100


class EnergyPeriodSection(Section, frozen=True):
    """Price of electricity while the site's wall clock is in [from, to)."""

    start: Annotated[str, Meta(pattern=CLOCK, description="period begins, HH:MM")]
    end: Annotated[
        str, Meta(pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", description="period ends, HH:MM or 24:00")
    ]
    electricity_fen_per_kwh: Annotated[
        float, number("price of electricity; two decimals at most", least=0, most=100_000)
    ]
    days: Annotated[str, Meta(pattern="^(every|workday|holiday)$", description="on which days")] = "every"


class PackageSection(Section, frozen=True):
    """Hours of charging for one price; the unused part is given back."""

    hours: Annotated[int, number("charging time, in bands of 100 %", least=1, most=12)]
    price_fen: Annotated[int, number("for all of them; electricity is charged apart", least=1, most=100_000)]


class TariffSection(Section, frozen=True, kw_only=True):
    """The price of a charge. Electricity and service are computed and shown apart (price notice of 2024)."""

    version: Annotated[str, text("printed on receipts; change it with the prices", longest=40)]
    start_fee_fen: Annotated[int, number("once a session with load", least=0, most=100_000)] = 0
    service_fen_per_kwh: Annotated[
        float, number("service fee by energy; two decimals at most", least=0, most=100_000)
    ] = 0
    free_minutes: Annotated[int, number("a session with less charging time costs nothing", least=0, most=60)] = 0
    minimum_fen: Annotated[int, number("a session that costs anything costs at least this", least=0, most=100_000)] = 0
    cap_fen: Annotated[
        Annotated[int, number("as minimum_fen", least=0, most=100_000)] | None,
        Meta(description="a session costs at most this; left out: no cap"),
    ] = None
    day_cap_fen: Annotated[
        Annotated[int, number("as minimum_fen", least=0, most=100_000)] | None,
        Meta(description="what a resident begins on one day costs at most this; left out: no cap"),
    ] = None
    tripped_charge: Annotated[
        str,
        Meta(
            pattern="^(energy|all|nothing)$",
            description="what a charge costs that a fault ended: the energy delivered, all of it, or nothing",
        ),
    ] = "energy"
    time_step_minutes: Annotated[
        int,
        number("charging time is charged in steps, begun ones whole; 0: by the second", least=0, most=60),
    ] = 0
    time_bands: Annotated[
        tuple[PowerBandSection, ...], Meta(description="price of time by power; must cover every power from 0")
    ]
    energy_periods: Annotated[
        tuple[EnergyPeriodSection, ...],
        Meta(min_length=1, description="price of electricity by time of day; must cover 00:00 to 24:00 of every day"),
    ]
    packages: Annotated[tuple[PackageSection, ...], Meta(max_length=6, description="that residents may buy")] = ()
    weekends_are_holidays: Annotated[bool, Meta(description="for `days` of an energy period")] = False
    holidays: Annotated[DAYS, Meta(max_length=100, description="dates that are holidays, such as 2027-01-01")] = ()
    workdays: Annotated[DAYS, Meta(max_length=100, description="dates at weekends that are worked on")] = ()


class TariffFile(TariffSection, frozen=True, kw_only=True):
    """A separate tariff for certain outlets, residents and dates. If several match, the most specific one applies."""

    outlets: Annotated[
        tuple[Annotated[int, number("as printed on the cabinet", least=1, most=40)], ...],
        Meta(max_length=40, description="numbers of the outlets it is for; left out: all"),
    ] = ()
    groups: Annotated[
        tuple[Annotated[str, text("a group of residents", pattern="^[a-z0-9-]+$", longest=20)], ...],
        Meta(max_length=20, description="groups of residents it is for; left out: everybody"),
    ] = ()
    valid_from: Annotated[datetime.date | None, Meta(description="first day, by a charge's start")] = None
    valid_until: Annotated[datetime.date | None, Meta(description="last day, included")] = None
