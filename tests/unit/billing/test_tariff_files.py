"""Tariff files: what is in them, what is wrong with them, and which of them are used."""

from importlib import resources
from pathlib import Path

import pytest

from cabinet.billing import tariff_files
from cabinet.config import Config, parse
from cabinet.errors import ConfigErrors

SPRING = """\
version = "spring"
service_fen_per_kwh = 30.5
time_step_minutes = 30
valid_from = 2027-03-01
valid_until = 2027-05-31
outlets = [1, 2]
groups = ["staff"]
time_bands = [{ from_w = 0, to_w = 200, fen_per_hour = 20 }, { from_w = 200, fen_per_hour = 35, package_percent = 75 }]
energy_periods = [
    { start = "00:00", end = "08:00", electricity_fen_per_kwh = 40 },
    { start = "08:00", end = "24:00", electricity_fen_per_kwh = 51.03, days = "workday" },
    { start = "08:00", end = "24:00", electricity_fen_per_kwh = 45, days = "holiday" },
]
holidays = [2027-04-05]
packages = [{ hours = 4, price_fen = 200 }]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    return parse(f'{text}\n[paths]\nstate = "{tmp_path}"\n')


def write(config: Config, name: str, text: str) -> Path:
    path = tariff_files.folder(config) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_in_a_file_is_in_the_tariff(config: Config) -> None:
    posted = tariff_files.load_file(write(config, "a.toml", SPRING))
    tariff = posted.tariff
    assert (posted.outlets, posted.groups) == (frozenset({1, 2}), frozenset({"staff"}))
    assert posted.fits(1, "staff", posted.until_day)
    assert posted.until_day - posted.from_day == 91
    assert (tariff.version, tariff.time_step_s, tariff.priced_kwh, tariff.service_fen) == ("spring", 1800, 100, 3050)
    assert [period.electricity_fen for period in tariff.periods] == [4000, 5103, 4500]
    assert [band.package_percent for band in tariff.bands] == [100, 75]
    assert [(package.bought_s, package.fen) for package in tariff.packages] == [(14_400, 200)]
    assert len(tariff.holidays) == 1
    assert tariff.is_holiday(tariff.holidays[0])


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('version = "spring"\n', "", "version: is missing, and has no default"),
        ("51.03", "51.035", "energy_periods[2].electricity_fen_per_kwh: 51.035 has more than two decimals"),
        ("51.03", "-1", "energy_periods[2].electricity_fen_per_kwh: expected number >= 0.0, got -1"),
        ("holidays = [2027-04-05]\n", "", "holidays: no day is a holiday: name some, or set weekends_are_holidays"),
        ('days = "holiday"', 'days = "sunday"', "energy_periods[3].days: expected text matching"),
        ('electricity_fen_per_kwh = 45, days = "holiday"', 'electricity_fen_per_kwh = 45, days = "workday"',
         "energy_periods[3].start: overlap: starts at 08:00, expected 24:00 of a workday"),
        ("holidays = [2027-04-05]", "holidays = [2027-04-05]\nworkdays = [2027-04-05]",
         "workdays[1]: 2027-04-05 is among the holidays too"),
        ("2027-05-31", "2027-02-28", "valid_until: 2027-02-28 is before valid_from 2027-03-01"),
        ("from_w = 200", "from_w = 250", "time_bands[2].from_w: gap: starts at 250 W, the band before ends at 200 W"),
        ("price_fen = 200 }", "price_fen = 200 }, { hours = 4, price_fen = 300 }",
         "packages[2].hours: there is a package of 4 h already"),
        ("hours = 4", "hours = 13", "packages[1].hours: expected whole number <= 12, got 13"),
        ("outlets", "outlet", "outlet: unknown key; did you mean outlets?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_the_path_of_the_key(config: Config, old: str, new: str, mistake: str) -> None:
    assert old in SPRING
    path = write(config, "a.toml", SPRING.replace(old, new))
    with pytest.raises(ConfigErrors) as caught:
        tariff_files.load_file(path)
    assert str(caught.value).splitlines()[0].startswith(f"{path}: {mistake}")


def test_file_with_mistakes_is_not_used_and_the_others_are(config: Config) -> None:
    write(config, "bad.toml", SPRING.replace("spring", "bad").replace("hours = 4", "hours = 0"))
    write(config, "good.toml", SPRING)
    posted, wrong = tariff_files.load_all(config)
    assert [each.tariff.version for each in posted] == [config.tariff.version, "spring"]
    assert [str(errors) for errors in wrong] == [
        f"{tariff_files.folder(config)}/bad.toml: packages[1].hours: expected whole number >= 1, got 0"
    ]


def test_of_two_that_clash_the_second_is_not_used(config: Config) -> None:
    first = write(config, "a.toml", SPRING)
    second = write(config, "b.toml", SPRING.replace('"spring"', '"summer"'))
    posted, (wrong,) = tariff_files.load_all(config)
    assert [each.tariff.version for each in posted] == [config.tariff.version, "spring"]
    assert str(wrong) == (
        f"{second}: file: as in {first}: both are for the same outlets and residents from the same day"
    )


def test_outlet_that_is_not_there_is_a_mistake(config: Config) -> None:
    write(config, "a.toml", SPRING.replace("[1, 2]", "[1, 40]"))
    assert "outlets: outlet 40 is not in cabinet.toml" in str(tariff_files.load_all(config)[1][0])


def test_without_files_there_is_the_one_of_the_configuration(config: Config) -> None:
    (base,), wrong = tariff_files.load_all(config)
    assert (base.tariff.version, base.source, wrong) == (config.tariff.version, "[tariff]", [])
