"""The table of interlocks: its order, and each row alone and before all that follow it."""

from types import SimpleNamespace
from typing import Any

import pytest

from cabinet.clock import ManualClock
from cabinet.guard.interlocks import INTERLOCKS, Interlocks, PreCloseCheck
from cabinet.model import ABSENT, REFUSALS, Fault, Quality, Reading

CLOSING, TEST_CHARGE, CHARGE = PreCloseCheck


class Scene:
    """An outlet that may close, as values, and the parts of the guard that the rows read."""

    def __init__(self):
        self.clock = ManualClock()
        self.ready_at_ns = self.clock.monotonic_ns()
        self.present: set[Fault] = set()  # faults of the outlet or of the cabinet whose cause is there
        self.welded = False
        self.unit: Any = SimpleNamespace(
            latched=False,
            fault=None,
            note=None,
            reserved=False,
            lowest_mv=176_000,
            highest_mv=264_000,
            inputs=SimpleNamespace(reset_at_ns=None, voltage_mv=Reading(220_000, 0, Quality.OK)),
            safety=SimpleNamespace(
                present=lambda fault, inputs: fault in self.present,
            ),
        )
        self.cabinet: Any = SimpleNamespace(
            latched=False,
            feed_full=False,
            inputs=SimpleNamespace(residual_testing=False),
            present=lambda fault: fault in self.present,
        )
        self.contactor: Any = SimpleNamespace(
            locked_out=False, settled=lambda now_ns: now_ns >= self.ready_at_ns, welded=lambda: self.welded
        )
        self.relays: Any = SimpleNamespace(contactor_closed=True)
        self.state_writer: Any = SimpleNamespace(writable=True)
        parts: list[Any] = [self.cabinet, self.contactor, self.relays, self.state_writer, self.clock]
        self.interlocks = Interlocks(*parts)

    def interlock(self, check=CHARGE):
        return self.interlocks.interlock(self.unit, check)

    def applying(self):
        return [index for index, row in enumerate(INTERLOCKS) if row.applies(self.unit, self.interlocks)]


def one_ns_early(scene):
    scene.ready_at_ns = scene.clock.monotonic_ns() + 1


# The table again, each row with what makes it apply. A change here is a change of the refusals that people see.
ROWS = [
    (CLOSING, "fault_latched", lambda scene: setattr(scene.unit, "latched", True)),
    (CLOSING, "cabinet_fault", lambda scene: setattr(scene.cabinet, "latched", True)),
    (CLOSING, "state_unwritable", lambda scene: setattr(scene.state_writer, "writable", False)),
    (CLOSING, "contactor_open", lambda scene: setattr(scene.contactor, "locked_out", True)),
    (CLOSING, "not_ready", one_ns_early),
    (CLOSING, "contactor_open", lambda scene: setattr(scene.relays, "contactor_closed", False)),
    (CLOSING, "relay_welded", lambda scene: setattr(scene, "welded", True)),
    (CLOSING, "relay_welded", lambda scene: scene.present.add(Fault.RELAY_WELDED)),
    (CLOSING, "sensor_lost", lambda scene: scene.present.add(Fault.SENSOR_LOST)),
    (CLOSING, "sensor_lost", lambda scene: setattr(scene.unit.inputs, "reset_at_ns", 0)),
    (CLOSING, "voltage_out_of_band", lambda scene: setattr(scene.unit.inputs, "voltage_mv", ABSENT)),
    (CLOSING, "voltage_out_of_band", lambda scene: scene.present.add(Fault.UNDERVOLTAGE)),
    (CLOSING, "outlet_hot", lambda scene: scene.present.add(Fault.OUTLET_HOT)),
    (CLOSING, "fault_present", lambda scene: setattr(scene.unit, "fault", Fault.OVERPOWER)),
    (TEST_CHARGE, "not_ready", lambda scene: setattr(scene.cabinet.inputs, "residual_testing", True)),
    (TEST_CHARGE, "cabinet_hot", lambda scene: scene.present.add(Fault.CABINET_HOT)),
    (TEST_CHARGE, "feed_full", lambda scene: setattr(scene.cabinet, "feed_full", True)),
    (CHARGE, "out_of_service", lambda scene: setattr(scene.unit, "note", "being painted")),
    (CHARGE, "not_ready", lambda scene: setattr(scene.unit, "reserved", True)),
]


def test_order_of_the_table_is_that_of_the_answers():
    assert [(row.check, row.code) for row in INTERLOCKS] == [(check, code) for check, code, _ in ROWS]
    assert {row.code for row in INTERLOCKS} <= REFUSALS


def test_no_row_is_against_an_outlet_that_may_close():
    scene = Scene()
    assert scene.applying() == []
    assert [scene.interlock(check) for check in PreCloseCheck] == [None] * 3


@pytest.mark.parametrize("index", range(len(ROWS)), ids=[f"{n}-{code}" for n, (_, code, _) in enumerate(ROWS)])
def test_row_alone_is_the_answer_from_its_check_on(index):
    first, code, cause = ROWS[index]
    scene = Scene()
    cause(scene)
    assert scene.applying() == [index]
    assert [scene.interlock(check) for check in PreCloseCheck] == [
        code if check >= first else None for check in PreCloseCheck
    ]


@pytest.mark.parametrize("index", range(len(ROWS)), ids=[f"{n}-{code}" for n, (_, code, _) in enumerate(ROWS)])
def test_row_comes_before_all_that_follow_it(index):
    scene = Scene()
    for _, _, cause in ROWS[index:]:
        cause(scene)
    assert scene.interlock() == ROWS[index][1]


@pytest.mark.parametrize(
    ("voltage_mv", "code"),
    [(175_999, "voltage_out_of_band"), (176_000, None), (264_000, None), (264_001, "voltage_out_of_band")],
)
def test_voltage_may_be_at_its_limits_and_not_beyond(voltage_mv, code):
    scene = Scene()
    scene.unit.inputs.voltage_mv = Reading(voltage_mv, 0, Quality.OK)
    assert scene.interlock() == code


@pytest.mark.parametrize(
    ("fault", "code"), [(Fault.OVERVOLTAGE, "voltage_out_of_band"), (Fault.OVERCURRENT, "outlet_hot")]
)
def test_second_cause_of_a_row_counts_as_the_first(fault, code):
    scene = Scene()
    scene.present.add(fault)
    assert scene.interlock() == code
