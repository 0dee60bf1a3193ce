"""docs/tariffs.md, "Down to the second": each rule's worked example, as it stands there."""

import datetime
import re
from pathlib import Path

import msgspec
import pytest

from cabinet.billing import tariff_files
from cabinet.billing.tariff import MINUTES_A_DAY, Package, Slice, Tariff, add_slice, no_use, total_fen
from cabinet.model import CostLine, EndReason
from cabinet.service.charges import pricing
from cabinet.texts.number_format import yuan
from cabinet_testing.tariff_examples import DOCS, FILES

DAY = datetime.date(2027, 3, 1).toordinal()  # a Monday
ROW = re.compile(r"^\| (?P<rule>[^|]+) \| `(?P<keys>[^|]+)` \| (?P<used>[^|]+) \| (?P<charged>[^|]+) \|$", re.MULTILINE)
ROWS = [match.groupdict() for match in ROW.finditer(Path(DOCS).read_text("utf-8"))]
SLICE = re.compile(r"([\d.]+) s, ([\d.]+) Wh, (\d\d):(\d\d) to (\d\d):(\d\d)")


def tariff_of(keys: str) -> Tariff:
    """`name` of a file of the page, and what is changed in it: `bands, time_step_s = 60`."""
    name, *changes = keys.split(", ")
    tariff = tariff_files.load_text(FILES[f"{name}.toml"], name).tariff
    for change in changes:
        key, _, value = change.partition(" = ")
        if key == "package":
            tariff = msgspec.structs.replace(tariff, packages=(), package=Package(int(value) * 3600, 200))
        elif key == "fen_per_hour":  # of all bands
            bands = tuple(msgspec.structs.replace(band, fen_per_hour=int(value)) for band in tariff.bands)
            tariff = msgspec.structs.replace(tariff, bands=bands)
        else:
            parsed = int(value) if value.isdigit() else value
            tariff = msgspec.structs.replace(tariff, **{key: parsed})
    return tariff


def said(line: CostLine) -> str:
    quantity = {"s": f" {line.quantity} s", "mWh": f" {line.quantity // 1000} Wh", "once": ""}[line.unit]
    period = f" {line.detail.split()[0]}" if line.kind == "electricity" else ""
    return f"{line.kind.replace('_', ' ')}{period}{quantity} ¥{yuan(line.amount_fen)}"


def charged(keys: str, used: str) -> str:
    tariff = tariff_of(keys)
    use = no_use(tariff)
    for seconds, watt_hours, *times in SLICE.findall(used):
        from_h, from_m, to_h, to_m = map(int, times)
        day = DAY * MINUTES_A_DAY
        looks = (day + 60 * from_h + from_m, day + 60 * to_h + to_m)
        use = add_slice(tariff, use, Slice(round(1000 * float(seconds)), round(1000 * float(watt_hours)), looks))
    lines = pricing.price_lines(tariff, use, 1 << 40, EndReason.TRIPPED if "a fault" in used else EndReason.FULL)
    return f"{' + '.join(map(said, lines))} = ¥{yuan(total_fen(lines))}"


def test_page_says_each_detail():
    rules = " ".join(row["rule"] for row in ROWS)
    for topic in (
        "rest of a begun step", "steps of equal price", "cut to whole seconds", "packages have no steps",
        "minimum after a fault", "minimum comes before the cap", "exactly on a boundary", "three periods",
        "equal prices", "service fee on the total",
    ):  # fmt: skip
        assert topic in rules


@pytest.mark.parametrize("row", ROWS, ids=[row["rule"][:40] for row in ROWS])
def test_worked_example_is_true(row):
    assert charged(row["keys"], row["used"]) == row["charged"]
