"""Usage records, and damage to their file, as by a person or a dying SD card."""

import hashlib
import json
import sqlite3
from pathlib import Path

from cabinet.clock import WallTime
from cabinet.model import CostLine, EndReason, Fault
from cabinet.records import UsageRecord


def record(session_id: str, ended_unix_ms: int = 1000) -> UsageRecord:
    return UsageRecord(
        number=0,
        order_number=f"DEMO-1-{session_id}",
        session_id=session_id,
        site_id="DEMO-1",
        outlet=3,
        card="****3344",
        started=WallTime(0, True),
        ended=WallTime(ended_unix_ms, True),
        powered_s=3600,
        charging_s=3590,
        energy_mwh=150_000,
        peak_power_mw=180_000,
        mean_power_mw=150_000,
        lines=[CostLine("time", 3590, "s", 20, 19, "0-200")],
        electricity_fen=0,
        service_fen=19,
        total_fen=19,
        held_fen=500,
        refund_fen=481,
        end_reason=EndReason.TRIPPED,
        fault=Fault.OUTLET_HOT,
        tariff_version="t-1",
        previous_hash="",
        record_hash="",
        holder="a1b2",
    )


def body(connection: sqlite3.Connection, number: int) -> str:
    return str(connection.execute("SELECT body FROM usage_record WHERE number = ?", (number,)).fetchone()[0])


def rewrite(connection: sqlite3.Connection, number: int, **fields: object) -> None:
    """Edit a record and give it the hash that its new contents have."""
    contents = json.dumps({**json.loads(body(connection, number)), **fields}, sort_keys=True, separators=(",", ":"))
    connection.execute(
        "UPDATE usage_record SET body = ?, record_hash = ? WHERE number = ?",
        (contents, hashlib.sha256(contents.encode()).hexdigest(), number),
    )


def damage(path: Path, page: int = 3) -> None:
    """A page of rubbish, as a dying SD card gives it."""
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 4096)
