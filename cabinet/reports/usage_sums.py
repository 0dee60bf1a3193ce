"""Sums over the usage log: one row per month, outlet or card. Pure."""

import datetime
import zoneinfo
from collections.abc import Iterable, Iterator

import msgspec

from cabinet import plain_text, texts
from cabinet.reports.usage_csv import BOM, csv_line
from cabinet.store.usage import UsageFigures
from cabinet.texts import number_format

GROUPS = ("month", "outlet", "card")

_encoder = msgspec.json.Encoder(order="sorted")


class Sum(msgspec.Struct):
    """Sum of all records of one `group`: 2026-11, an outlet's number, or a masked card (empty: erased residents)."""

    group: str
    sessions: int = 0
    charging_s: int = 0
    energy_mwh: int = 0
    electricity_fen: int = 0
    service_fen: int = 0
    total_fen: int = 0


def grouped(records: Iterable[UsageFigures], by: str, zone: zoneinfo.ZoneInfo) -> list[Sum]:
    """Return the sums by month or outlet, or cards by first record. Two cards that look alike stay separate."""
    sums: dict[object, Sum] = {}
    for record in records:
        key, name = _group(record, by, zone)
        found = sums.setdefault(key, Sum(name))
        found.sessions += 1
        found.charging_s += record.charging_s
        found.energy_mwh += record.energy_mwh
        found.electricity_fen += record.electricity_fen
        found.service_fen += record.service_fen
        found.total_fen += record.electricity_fen + record.service_fen
    if by == "card":
        return list(sums.values())
    return sorted(sums.values(), key=lambda each: (len(each.group), each.group))  # outlet 2 before outlet 10


def _group(record: UsageFigures, by: str, zone: zoneinfo.ZoneInfo) -> tuple[object, str]:
    if by == "month":
        month = datetime.datetime.fromtimestamp(record.ended_unix_ms / 1000, zone).strftime("%Y-%m")
        return month, month
    if by == "outlet":
        return record.outlet, str(record.outlet)
    return record.holder or record.card, record.card


def lines(sums: Iterable[Sum], by: str, form: str, language: str) -> Iterator[bytes]:
    """Yield the lines of a file; `form` is csv or jsonl."""
    if form == "jsonl":
        for each in sums:
            yield plain_text.json_text(_encoder.encode(each)).encode() + b"\n"
        return
    words = texts.table("common", language)
    titles = [words[f"usage.{by}"], words["usage.sessions"]]
    titles += [
        words[f"usage.{name}"]
        for name in ("charging_min", "energy_kwh", "electricity_yuan", "service_yuan", "total_yuan")
    ]
    yield (BOM + csv_line(titles)).encode()
    for each in sums:
        cells = [
            each.group,
            str(each.sessions),
            number_format.minutes(each.charging_s),
            number_format.kwh(each.energy_mwh),
        ]
        cells += [number_format.yuan(fen) for fen in (each.electricity_fen, each.service_fen, each.total_fen)]
        yield csv_line(cells).encode()
