"""Monthly closings: sums of the usage log up to a record, signed with the cabinet's own key.

The chain of hashes shows every change except one: a log rewritten as a whole by a person with write access to the
file. A closing that was kept elsewhere shows that too: it holds the hash of the last record, and only the key could
have signed another. The key signs and never leaves the cabinet; the property keeps its public half.
"""

import base64
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
from nacl.signing import SigningKey

from cabinet.clock import WallTime
from cabinet.errors import StoreError
from cabinet.records import Closing, SignedClosing
from cabinet.system.atomic_file import write_file
from cabinet.usage_chain import canonical_closing, is_signed

log = logging.getLogger(__name__)

_making = threading.Lock()  # housekeeping and the pages load the key in threads of their own


def load_key(path: Path, make: bool = False) -> SigningKey:
    """Return the key in the file: 32 random bytes that only their owner may read.

    If `make` is set, as by the service, a missing key is created. Raises StoreError.
    """
    try:
        if make:
            with _making:
                if not path.exists():
                    write_file(path, bytes(SigningKey.generate()), 0o600)
        return SigningKey(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no key yet: start `cabinet serve` once") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: is no key of 32 bytes") from error


def public(key: SigningKey) -> str:
    return base64.b64encode(bytes(key.verify_key)).decode()


def close(
    connection: sqlite3.Connection,
    key: SigningKey,
    site_id: str,
    month: str,
    wall: WallTime,
    before_unix_ms: int | None = None,
) -> SignedClosing | None:
    """Store and return a closing of all records since the last closing; None if there are none.

    It stops before the first record that ended at `before_unix_ms` or later by a trusted clock: its sums are those of
    the month. Runs inside the caller's transaction.
    """
    before = connection.execute("SELECT body FROM usage_closing ORDER BY number DESC LIMIT 1").fetchone()
    last = None if before is None else msgspec.json.decode(before["body"], type=Closing)
    first_number = 1 if last is None else last.last_number + 1
    if last is not None and last.key != public(key):
        log.error("the key of earlier closings is gone: from closing %d on another one signs", last.number + 1)
    sums = _sums(connection, first_number, _last_before(connection, first_number, before_unix_ms))
    if sums is None:
        return None
    last_number, last_hash, energy_mwh, electricity_fen, service_fen = sums
    closing = Closing(
        1 if last is None else last.number + 1, site_id, month, first_number, last_number, last_hash,
        energy_mwh, electricity_fen, service_fen, wall, public(key),
    )  # fmt: skip
    body = canonical_closing(closing)
    signature = base64.b64encode(key.sign(body).signature).decode()
    connection.execute(
        "INSERT INTO usage_closing (number, month, body, signature) VALUES (?, ?, ?, ?)",
        (closing.number, month, body.decode(), signature),
    )
    return SignedClosing(closing, signature)


def to_be_closed(connection: sqlite3.Connection, before_unix_ms: int) -> bool:
    """Return whether a record that ended before then, by any clock, is not in a closing yet."""
    newest = "SELECT body ->> '$.last_number' FROM usage_closing ORDER BY number DESC LIMIT 1"
    last = connection.execute(newest).fetchone()
    found = connection.execute(
        "SELECT 1 FROM usage_record WHERE number > ? AND ended_unix_ms < ? LIMIT 1",
        (0 if last is None else last[0], before_unix_ms),
    ).fetchone()
    return found is not None


def _last_before(connection: sqlite3.Connection, first_number: int, before_unix_ms: int | None) -> int | None:
    """Return the last number to close; None for all."""
    later = connection.execute(
        "SELECT min(number) FROM usage_record"
        " WHERE number >= ? AND ended_unix_ms >= ? AND body ->> '$.ended.trusted' = 1",
        (first_number, before_unix_ms),
    ).fetchone()[0]
    return None if later is None else later - 1


def _sums(
    connection: sqlite3.Connection, first_number: int, last_number: int | None
) -> tuple[int, str, int, int, int] | None:
    """Return last number, its hash, and sums of energy, electricity and service, both ends included; None if empty."""
    row = connection.execute(
        "SELECT max(number) AS last, sum(body ->> '$.energy_mwh'), sum(body ->> '$.electricity_fen'),"
        " sum(body ->> '$.service_fen') FROM usage_record WHERE number >= ? AND number <= coalesce(?, number)",
        (first_number, last_number),
    ).fetchone()
    if row["last"] is None:
        return None
    found = connection.execute("SELECT record_hash FROM usage_record WHERE number = ?", (row["last"],)).fetchone()
    return (row["last"], found["record_hash"], row[1], row[2], row[3])


def all_signed(connection: sqlite3.Connection) -> Iterator[SignedClosing]:
    for row in connection.execute("SELECT body, signature FROM usage_closing ORDER BY number"):
        yield SignedClosing(msgspec.json.decode(row["body"], type=Closing), row["signature"])


def months_closed(connection: sqlite3.Connection) -> set[str]:
    return {row["month"] for row in connection.execute("SELECT month FROM usage_closing")}


def problem_of(connection: sqlite3.Connection, signed: SignedClosing, key: str) -> str | None:
    """Return why the log is not the one that was closed, or None. `key` is the public key that the reader trusts."""
    closing = signed.closing
    if not is_signed(signed, key):
        return "its signature is not of this key"
    sums = _sums(connection, closing.first_number, closing.last_number)
    stated = (
        closing.last_number, closing.last_hash, closing.energy_mwh, closing.electricity_fen, closing.service_fen
    )  # fmt: skip
    if sums is None or sums[0] != closing.last_number:
        return f"the log has no record {closing.last_number}"
    if sums[1] != closing.last_hash:
        return f"record {closing.last_number} is another one than was signed: the log was rewritten"
    return None if sums == stated else f"records {closing.first_number} to {closing.last_number} add up to other sums"
