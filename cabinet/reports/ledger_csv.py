"""The ledger as a table for an accountant: every posting with its debit or credit. Pure: entries in, lines out.

Wallets, holds and revenue are what the property owes or has earned: money into them is a credit. Cash is an asset: the
ledger keeps it below 0, and money taken in is its debit. So both columns add up to the same.
"""

import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cabinet import texts
from cabinet.clock import WallTime
from cabinet.reports import spreadsheet
from cabinet.reports.spreadsheet import Cell, Number
from cabinet.reports.usage_csv import BOM, csv_line
from cabinet.store.ledger_books import LedgerEntry
from cabinet.texts import number_format

COLUMNS = (
    "number",
    "time",
    "clock_trusted",
    "kind",
    "account",
    "card",
    "order_number",
    "debit",
    "credit",
    "note",
    "key",
)


class Row(NamedTuple):
    """One posting; `card` and `order_number` are empty if it has none."""

    entry: LedgerEntry
    card: str
    order_number: str


def csv_lines(rows: Iterable[Row], language: str, zone: zoneinfo.ZoneInfo) -> Iterator[str]:
    """Yield the lines of a CSV file with its mark, its titles and, at the end, the sums; encode them as UTF-8."""
    yield BOM + csv_line(texts.table("common", language)[f"ledger.{name}"] for name in COLUMNS)
    for _, cells in _table(rows, language, zone):
        yield csv_line(cells)


def write_sheet(path: Path, rows: Iterable[Row], language: str, zone: zoneinfo.ZoneInfo) -> None:
    """Write the same as a spreadsheet: cards and keys as text with every digit, amounts as numbers, dates as dates."""

    def sheet_rows() -> Iterator[list[Cell]]:
        for row, cells in _table(rows, language, zone):
            typed: list[Cell] = []
            for name, cell in zip(COLUMNS, cells, strict=True):
                if name in ("debit", "credit") or (name == "number" and row is not None):
                    typed.append(Number(cell) if cell else "")
                elif name == "time" and row is not None:
                    typed.append(number_format.local(WallTime(row.entry.unix_ms, row.entry.trusted), zone))
                else:
                    typed.append(cell)
            yield typed

    words = texts.table("common", language)
    titles = [words[f"ledger.{name}"] + (f" ({zone.key})" if name == "time" else "") for name in COLUMNS]
    spreadsheet.write(path, titles, sheet_rows())


def _table(rows: Iterable[Row], language: str, zone: zoneinfo.ZoneInfo) -> Iterator[tuple[Row | None, list[str]]]:
    """Yield each posting with its cells, and at the end the sums, with None as posting."""
    words = texts.table("common", language)
    debit_fen = credit_fen = 0
    for row in rows:
        debit_fen += max(0, -row.entry.amount_fen)
        credit_fen += max(0, row.entry.amount_fen)
        yield row, _cells(row, words.__getitem__, zone)
    sums = {
        "number": words["bill.total"],
        "debit": number_format.yuan(debit_fen),
        "credit": number_format.yuan(credit_fen),
    }
    yield None, [sums.get(name, "") for name in COLUMNS]


def _cells(row: Row, word: Callable[[str], str], zone: zoneinfo.ZoneInfo) -> list[str]:
    kind, _, _ = row.entry.account.partition(":")
    name = row.entry.account.replace(":", "_") if kind == "revenue" else kind
    moment = number_format.local(WallTime(row.entry.unix_ms, row.entry.trusted), zone)
    return [
        str(row.entry.number),
        moment.isoformat(" ", "seconds"),
        word("yes_no.yes" if row.entry.trusted else "yes_no.no"),
        word(f"ledger_kind.{row.entry.kind}"),
        word(f"ledger_account.{name}"),
        row.card,
        row.order_number,
        number_format.yuan(-row.entry.amount_fen) if row.entry.amount_fen < 0 else "",
        number_format.yuan(row.entry.amount_fen) if row.entry.amount_fen > 0 else "",
        row.entry.note,
        row.entry.key,
    ]
