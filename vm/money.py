"""Check of money and sessions after a power cut, with the product's own commands."""

import json
import re
from typing import Any

from cabinet.service.accounts.wallets import fen_of_yuan
from vm.harness import CARD, VmHarness

PUT_IN_FEN = 5000  # balance of the only wallet after the scenario commission
ASKED = ("store check", "usage export --format jsonl", "store running", "resident list")


def check(harness: VmHarness, answers: list[dict[str, Any]], known: set[str]) -> None:
    """Check the `answers` to ASKED; `known` are the sessions that a resident has seen. Raises Failed."""
    checked, exported, counted, listed = answers
    harness.shows_once(
        "after every cut database, ledger, usage log and its chain were whole (store check)",
        checked["status"] == 0 and checked["out"].startswith("OK"),
    )
    records = [json.loads(line) for line in exported["out"].splitlines()]
    settled = [record["session_id"] for record in records]
    harness.shows_once("no session was in the usage log twice", len(set(settled)) == len(settled))
    running = int(counted["out"])
    harness.shows_once(
        "every session that a resident had seen ran on or was settled", len(known - set(settled)) <= running
    )
    left_fen, held_fen = _wallet_fen(listed["out"])
    billed_fen = sum(record["total_fen"] for record in records)
    harness.shows_once(
        "the wallet had what was put in, less what the usage log bills, and held something only for a charge that ran",
        left_fen + held_fen == PUT_IN_FEN - billed_fen and (held_fen > 0) == (running > 0),
    )


def _wallet_fen(said: str) -> tuple[int, int]:
    """Return the free and the held amount of the wallet."""
    found = re.search(rf"{CARD} +([\d.]+) +([\d.]+)", said)
    assert found is not None, said
    return fen_of_yuan(found[1]), fen_of_yuan(found[2])
