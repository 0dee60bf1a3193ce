"""Loading of `[tariff]` and the tariff files into the form that billing uses."""

import hashlib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from cabinet.billing.posted import ALWAYS, PostedTariff, clashes
from cabinet.billing.tariff import Band, Package, Period, Tariff
from cabinet.config.check import Form, parse_as, read
from cabinet.config.keys import Config
from cabinet.config.tariff_keys import TariffFile
from cabinet.config.tariff_keys import TariffSection as Keys
from cabinet.config.tariff_mistakes import minute_of_day, tariff_mistakes
from cabinet.errors import CabinetError, ConfigError, ConfigErrors
from cabinet.system.atomic_file import write_file

BASE = "[tariff]"  # source of the tariff in `cabinet.toml`


def tariff_of(keys: Keys) -> Tariff:
    prices = [keys.service_fen_per_kwh, *(period.electricity_fen_per_kwh for period in keys.energy_periods)]
    priced_kwh = 1 if all(price == int(price) for price in prices) else 100
    return Tariff(
        version=keys.version,
        start_fee_fen=keys.start_fee_fen,
        priced_kwh=priced_kwh,
        service_fen=round(keys.service_fen_per_kwh * priced_kwh),
        free_minutes=keys.free_minutes,
        minimum_fen=keys.minimum_fen,
        cap_fen=keys.cap_fen,
        day_cap_fen=keys.day_cap_fen,
        tripped_charge=keys.tripped_charge,  # type: ignore[arg-type]
        time_step_s=max(1, keys.time_step_minutes * 60),
        bands=tuple(Band(b.from_w, b.to_w, b.fen_per_hour, b.package_percent) for b in keys.time_bands),
        periods=tuple(
            Period(minute_of_day(p.start), minute_of_day(p.end), round(p.electricity_fen_per_kwh * priced_kwh), p.days)  # type: ignore[arg-type]
            for p in keys.energy_periods
        ),
        packages=tuple(Package(p.hours * 3600, p.price_fen) for p in keys.packages),
        holidays=tuple(sorted(day.toordinal() for day in keys.holidays)),
        workdays=tuple(sorted(day.toordinal() for day in keys.workdays)),
        weekends_are_holidays=keys.weekends_are_holidays,
    )


def load_file(path: Path) -> PostedTariff:
    """Load and check one tariff file. Raises ConfigErrors with every mistake found."""
    return load_text(read(path), str(path))


def load_text(text: str, source: str) -> PostedTariff:
    """Load a tariff from text that is not in a file yet; `source` is its name in messages."""
    keys = parse_as(Form(TariffFile, _good_tariff), tariff_mistakes, text, source)
    return PostedTariff(
        tariff_of(keys),
        source,
        frozenset(keys.outlets),
        frozenset(keys.groups),
        0 if keys.valid_from is None else keys.valid_from.toordinal(),
        ALWAYS if keys.valid_until is None else keys.valid_until.toordinal(),
    )


def base(config: Config) -> PostedTariff:
    """Return the tariff of `cabinet.toml`, which applies if no file does."""
    return PostedTariff(tariff_of(config.tariff), BASE, from_day=-1)


def folder(config: Config) -> Path:
    """Return the folder of the tariff files, which need not exist."""
    return Path(config.paths.state) / "tariffs"


def path_of(config: Config, version: str) -> Path:
    """Return a separate path for every version, whatever characters it has."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", version)
    if name != version:
        name += f"-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    return folder(config) / f"{name}.toml"


def put(config: Config, version: str, content: bytes) -> None:
    """Write a new file atomically, also in case of a power cut. An existing file is never changed.

    Raises CabinetError.
    """
    target = path_of(config, version)
    try:
        write_file(target, content, new=True)
    except FileExistsError as error:
        raise CabinetError(f"{target}: is there already: a tariff that was posted is not changed") from error
    except OSError as error:
        raise CabinetError(f"{target}: {error.strerror}") from error


def load_all(config: Config) -> tuple[list[PostedTariff], list[ConfigErrors]]:
    """Return the base tariff and those of the files, ordered by file name; and the mistakes in rejected files."""
    posted, wrong = [base(config)], []
    for path in sorted(folder(config).glob("*.toml")):
        try:
            tariff = load_file(path)
            check_beside(config, tariff, posted)
        except ConfigErrors as errors:
            wrong.append(errors)
        else:
            posted.append(tariff)
    return posted, wrong


def check_beside(config: Config, tariff: PostedTariff, others: list[PostedTariff]) -> None:
    """Raise ConfigErrors if `tariff` is for an outlet that does not exist, or clashes with one of `others`."""
    problems = [
        ConfigError("outlets", f"outlet {number} is not in cabinet.toml")
        for number in sorted(tariff.outlets - {outlet.number for outlet in config.outlet})
    ]
    problems += [
        ConfigError("version" if one.tariff.version == tariff.tariff.version else "file", f"as in {one.source}: {why}")
        for one, other, why in clashes([*others, tariff])
        if other is tariff
    ]
    if problems:
        raise ConfigErrors(tariff.source, problems)


def _good_tariff() -> dict[str, Any]:
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    sample: dict[str, Any] = tomllib.loads(text)["tariff"]
    return sample
