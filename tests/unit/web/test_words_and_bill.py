"""Words, documents and bill are one: every feature of a tariff with every end of a charge."""

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cabinet.billing.tariff import Band, Package, Period, Slice, Tariff, Use, add_slice, no_use, parts_fen, total_fen
from cabinet.model import EndReason, Fault
from cabinet.service.charges import pricing
from cabinet.service.ports import SessionView
from cabinet.texts import Texts
from cabinet.web.charging import charged_key
from cabinet_testing import fake_service

DOCS = Path(__file__).parents[3] / "docs"
HELD_FEN = 1000
FREE_S = 300

BANDS = (Band(0, 200, 20, 100), Band(200, None, 40, 50))
PLAIN = Tariff(version="v", bands=BANDS, periods=(Period(0, 480, 30), Period(480, 1440, 60)))
FREE_OF_TIME = (Band(0, None, 0),)
FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "start fee": {"start_fee_fen": 20},
    "service by energy": {"service_fen": 30},
    "only electricity": {"bands": FREE_OF_TIME},
    "free minutes": {"free_minutes": 5, "start_fee_fen": 20, "service_fen": 30},
    "minimum": {"minimum_fen": 100},
    "cap": {"cap_fen": 7, "service_fen": 30},
    "cap below electricity": {"cap_fen": 2},
    "cap 0": {"cap_fen": 0},
    "steps": {"time_step_s": 1800},
    "package": {"package": Package(14_400, 200)},
    "parts of a fen": {"priced_kwh": 100, "service_fen": 3000},
    "all after a fault": {"tripped_charge": "all", "start_fee_fen": 20, "free_minutes": 5},
    "nothing after a fault": {"tripped_charge": "nothing", "service_fen": 30},
}
ENDS = [(reason, Fault.OVERCURRENT if reason is EndReason.TRIPPED else None) for reason in EndReason]
USES = {
    "no load": (),
    "no load, a trace of energy": (Slice(0, 1500, None),),
    "within the free minutes": (Slice(290_000, 40_000, (1440 + 600, 1440 + 605)),),
    "exactly the free minutes": (Slice(1000 * FREE_S, 12_000, (1440 + 600, 1440 + 605)),),
    "two bands": (Slice(3_600_000, 160_000, (1440 + 600, 1440 + 660)), Slice(600_000, 50_000, (2100, 2110))),
    "long": (Slice(9 * 3_600_000, 4_000_000, (1440, 1440 + 540)),),
}


def settled(tariff: Tariff, use: Use, reason: EndReason, fault: Fault | None) -> SessionView:
    lines = pricing.price_lines(tariff, use, HELD_FEN, reason)
    return fake_service.settled(
        "s1", reason=reason, fault=fault, lines=lines, cost_fen=total_fen(lines), held_fen=HELD_FEN
    )


def every():
    for (feature, keys), (used, pieces), (reason, fault) in itertools.product(FEATURES.items(), USES.items(), ENDS):
        tariff = msgspec.structs.replace(PLAIN, **keys)
        use = no_use(tariff)
        for piece in pieces:
            use = add_slice(tariff, use, piece)
        yield f"{feature}, {used}, {reason.value}", tariff, use, settled(tariff, use, reason, fault)


def test_lines_add_up_and_stay_within_hold_and_cap():
    for name, tariff, _, session in every():
        assert sum(line.amount_fen for line in session.lines) == session.cost_fen, name
        assert 0 <= session.cost_fen <= min(HELD_FEN, HELD_FEN if tariff.cap_fen is None else tariff.cap_fen), name


def test_no_part_of_a_bill_is_below_nothing_on_any_page():
    for name, _, _, session in every():
        electricity_fen, rest_fen = parts_fen(session.lines)
        assert electricity_fen + rest_fen == session.cost_fen, name
        assert min(electricity_fen, rest_fen) >= 0, name


def test_sentence_of_the_receipt_is_what_the_lines_say():
    for name, _, _, session in every():
        kinds = {line.kind for line in session.lines if line.amount_fen > 0}
        key = charged_key(session)
        if key == "receipt.free_of_charge":
            assert session.cost_fen == 0, name
        elif key == "tripped.energy":
            assert kinds <= {"electricity"}, name
        elif key == "tripped.energy_and_service":
            assert kinds <= {"electricity", "service"}, name
            assert any(line.kind == "service" for line in session.lines), name
        else:
            assert key == "receipt.charged"
            assert session.cost_fen > 0, name


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_sentence_that_may_be_shown_exists_and_names_service_only_if_it_is_charged(language):
    say = Texts("web", language)
    service = {"zh": "服务费", "en": "service"}[language]
    shown = {charged_key(session) for _, _, _, session in every()}
    assert shown == {"receipt.free_of_charge", "receipt.charged", "tripped.energy", "tripped.energy_and_service"}
    assert service in say("tripped.energy_and_service", money="1").lower()
    assert service not in say("tripped.energy", money="1").lower()


def test_within_the_free_minutes_nothing_is_charged_whatever_ended_it():
    for name, tariff, use, session in every():
        if tariff.free_minutes and use.charging_ms < 60_000 * tariff.free_minutes:
            assert session.cost_fen == 0, name


def test_what_was_not_plugged_in_costs_nothing():
    for name, _, use, session in every():
        if session.end_reason is EndReason.NO_LOAD or not (use.charging_ms or use.energy_mwh):
            assert session.cost_fen == 0, name


def test_start_fee_and_minimum_are_charged_with_a_load_only_and_not_after_a_fault():
    for name, tariff, use, session in every():
        kinds = {line.kind for line in session.lines}
        if not use.charging_ms:
            assert "start_fee" not in kinds, name
        if session.end_reason is EndReason.TRIPPED and tariff.tripped_charge == "energy":
            assert not kinds & {"start_fee", "time", "package", "minimum"}, name


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("tariffs.md", "Within the free minutes nothing is charged at all, whatever ended the charge."),
        ("tariffs.md", "After a fault the energy is charged that was delivered, with its service fee,"),
        ("tariffs.md", "Charging time counts only while there is a load: power of at least 5 W"),
        ("usage-log.md", "outlet closed; with a load of at least 5 W"),
    ],
)
def test_documents_say_what_the_bill_does(page, sentence):
    text = re.sub(r"\s+", " ", (DOCS / page).read_text(encoding="utf-8"))
    assert sentence in text
