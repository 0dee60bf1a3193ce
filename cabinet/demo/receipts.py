"""Usage records that appear during `cabinet run`, as lines for its terminal."""

from pathlib import Path

from cabinet.errors import StoreError
from cabinet.records import UsageFilter, UsageRecord
from cabinet.store import usage
from cabinet.store.database import Database
from cabinet.texts import Texts, number_format


class Receipts:
    """Read-only access to the service's database: nothing here affects the service."""

    def __init__(self, database: Path, since_unix_ms: int, words: Texts) -> None:
        self._database = database
        self._since_unix_ms = since_unix_ms
        self._words = words
        self._shown = 0

    def new(self) -> list[str]:
        """Return one line for each session settled since the last call; none while the database cannot be read."""
        try:
            database = Database(self._database, read_only=True)
        except StoreError:
            return []
        try:
            with database.reading() as connection:
                records = list(usage.found(connection, UsageFilter(from_unix_ms=self._since_unix_ms)))
        except StoreError:
            return []
        finally:
            database.close()
        fresh = [record for record in records if record.number > self._shown]
        self._shown = max((record.number for record in fresh), default=self._shown)
        return [receipt_line(record, self._words) for record in fresh]


def receipt_line(record: UsageRecord, words: Texts) -> str:
    reason = words(f"end_reason.{record.end_reason.value}")
    fault = f" ({words(f'fault.{record.fault.value}.name')})" if record.fault is not None else ""
    return (
        f"outlet {record.outlet:>2}  settled: {reason}{fault}; {number_format.kwh(record.energy_mwh)} kWh, "
        f"{number_format.yuan(record.total_fen)} yuan, {number_format.yuan(record.refund_fen)} yuan back; "
        f"usage record {record.number}"
    )
