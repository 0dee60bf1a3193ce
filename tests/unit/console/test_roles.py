"""Each dangerous command in each state by who may not: refused with a reason, nothing switched, one audit row.

The cabinet is the real guard over the simulator; the log is the console's own, which also serves with the service dead.
"""

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.console import registry
from cabinet.console.accounts import Level
from cabinet.console.audit_file import AuditFile
from cabinet.console.commands import session
from cabinet.link.service_protocol import ConsoleAuditEntry
from cabinet.model import Fault, Phase
from cabinet_testing.console_harness import ACCOUNTS, ConsoleHarness
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

HARMLESS = {
    name for name, spec in registry.COMMANDS.items() if spec.reads or spec.handler.__module__ == session.__name__
}
DANGEROUS = sorted(set(registry.COMMANDS) - HARMLESS)
STATES = ("free", "charging", "latched", "locked", "cabinet_latched", "service_dead", "guard_dead")
TOO_LOW = [
    (name, account)
    for name in DANGEROUS
    for account, level in ACCOUNTS.items()
    if level < registry.COMMANDS[name].level
]
OUTLET = 3


class RoleHarness:
    """One cabinet in one state, with what the console wrote down."""

    def __init__(self, folder, state: str) -> None:
        self.sim = SimCabinet(folder, demo_config(outlets=4))
        self.path = folder / "audit.jsonl"
        self.journal = AuditFile(self.path, self.sim.clock)
        self.tech = ConsoleHarness(self.sim, folder, audit=self.journal)
        getattr(self, state)()

    def free(self) -> None:
        """Outlet 3 could be started."""

    def service_dead(self) -> None:
        """The same: nothing here asks the service, and nobody carries the log to it."""

    def charging(self) -> None:
        self.sim.plug(OUTLET, "resistor:500")
        self.sim.start(OUTLET)
        assert self.sim.run(5 * NS, until=lambda: self.sim.outlet(OUTLET).phase is Phase.CHARGING)

    def latched(self) -> None:
        self.charging()
        self.sim.world.fault(OUTLET, "short", amps=60)
        assert self.sim.run(NS, until=lambda: self.sim.outlet(OUTLET).latched)
        self.sim.run(NS)

    def locked(self) -> None:
        self.tech.say(f"lock {OUTLET} broken")
        self.tech.say("yes")
        self.tech.guard.asked.clear()

    def cabinet_latched(self) -> None:
        self.sim.world.fault(None, "smoke")
        assert self.sim.run(NS, until=lambda: self.sim.guard.snapshot().fault is Fault.SMOKE)

    def guard_dead(self) -> None:
        self.tech.guard.gone = True

    def rows(self) -> list[ConsoleAuditEntry]:
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [msgspec.json.decode(line, type=ConsoleAuditEntry) for line in lines]

    def switched(self) -> int:
        return self.sim.world.journal.last_seq

    def standing(self) -> object:
        """Return everything that staff could have changed."""
        pages = self.sim.guard.maintenance_state().outlets
        states = [(s.closed, s.session_id, s.fault, s.latched, s.note) for s in self.sim.guard.snapshot().outlets]
        return states, pages, self.sim.guard.snapshot().contactor_closed, self.sim.guard.maintenance_state().job


@pytest.fixture(scope="module", params=STATES)
def harness(request, tmp_path_factory):
    return RoleHarness(tmp_path_factory.mktemp(request.param), request.param)


def test_the_dangerous_commands_are_those_that_do_something():
    assert set(DANGEROUS) >= {
        "on", "off", "clear", "lock", "unlock", "selftest", "relay", "alert test", "rcd test", "siren test",
        "contactor", "replace", "calibrate", "clock", "reload", "backup", "reboot", "commission",
    }  # fmt: skip
    assert {registry.COMMANDS[name].level for name in DANGEROUS} == {Level.OPERATE, Level.SERVICE}


@pytest.mark.parametrize(("name", "account"), TOO_LOW)
def test_who_may_not_is_refused_with_a_reason_and_a_row_and_nothing_is_switched(harness, name, account):
    harness.tech.log_in(account)
    spec = registry.COMMANDS[name]
    rows, switched, standing = harness.rows(), harness.switched(), harness.standing()
    said = harness.tech.say(spec.example)
    assert said == f"{name} needs an account of level {spec.level.name.lower()}."
    harness.tech.say("yes")  # no question is open that this could answer
    assert harness.tech.guard.asked == []
    assert (harness.switched(), harness.standing()) == (switched, standing)
    new = [row for row in harness.rows() if row not in rows]
    assert [(row.account, row.line, row.outcome) for row in new if row.line != "yes"] == [
        (account, spec.example, "not_for_you")
    ]


FORCED = ("on 3 60 force", "lock 3 force broken")


@pytest.mark.parametrize("line", FORCED)
def test_force_is_for_service_alone(tmp_path, line):
    harness = RoleHarness(tmp_path, "charging")
    harness.tech.log_in("night")
    rows, standing = harness.rows(), harness.standing()
    assert harness.tech.say(line) == "A resident is charging (outlet 3); force is for level service."
    assert harness.standing() == standing
    assert harness.tech.guard.asked == []
    new = [row for row in harness.rows() if row not in rows]
    assert [(row.line, row.outcome) for row in new] == [(line, "force_not_for_you")]


RESIDENTS_FIRST = (
    "on 3 60", "off 3", "lock 3 broken", "selftest 3", "selftest", "relay 3 cycle 5", "alert test 3", "alert test 4",
    "rcd test", "contactor open", "replace 3", "calibrate 3", "commission",
)  # fmt: skip


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    return RoleHarness(tmp_path_factory.mktemp("busy"), "charging")


CHARGING = {  # whether the command can be forced: what it is refused with
    True: ("charging_there", "A resident is charging (outlet 3); only force ends that."),
    False: ("charging_first", "A resident is charging (outlet 3). Wait, or end that first: off N force"),
}


@pytest.mark.parametrize("line", RESIDENTS_FIRST)
def test_residents_come_first_for_those_who_may_too(busy, line):
    rows, standing = busy.rows(), busy.standing()
    typed = registry.find(line)
    assert typed is not None
    takes_force = any("force" in argument.choices(busy.sim.config) for argument in typed.spec.takes)
    code, said = CHARGING[takes_force]
    assert busy.tech.say(line) == said
    assert busy.standing() == standing
    new = [row for row in busy.rows() if row not in rows]
    assert [(row.line, row.outcome) for row in new] == [(line, code)]


def test_every_command_that_can_be_forced_is_tested_to_refuse():
    """`reload` and `reboot` act on all outlets, through the steward: `test_machine.py`."""
    tested = {typed.spec.name for line in RESIDENTS_FIRST if (typed := registry.find(line)) is not None}
    specs, config = registry.COMMANDS.values(), demo_config()
    forced = {spec.name for spec in specs if any("force" in taken.choices(config) for taken in spec.takes)}
    assert forced - tested == {"reload", "reboot"}


def outcomes(harness: RoleHarness, before: int) -> list[tuple[str, str]]:
    return [(row.line, row.outcome) for row in harness.rows()[before:]]


def test_what_is_done_or_left_is_in_the_log_with_how_it_ended(tmp_path):
    harness = RoleHarness(tmp_path, "free")
    start = len(harness.rows())
    for line in ("on 3 1", "no", "on 3 1", "yes", "off 3", "selftest 3", "yes"):
        harness.tech.say(line)
    assert outcomes(harness, start) == [
        ("on 3 1", "not_confirmed"), ("on 3 1", "ok"), ("off 3", "ok"), ("selftest 3", "ok"),
    ]  # fmt: skip


def test_dialogue_is_in_the_log_when_it_begins_and_when_it_ends(tmp_path):
    harness = RoleHarness(tmp_path, "free")
    start = len(harness.rows())
    harness.sim.plug(3, "resistor:220")
    harness.tech.say("calibrate 3")
    harness.tech.say("yes")
    harness.tech.say("220 1.0")
    harness.tech.shell.interrupt()
    assert outcomes(harness, start) == [("calibrate 3", "begun"), ("calibrate 3", "not_confirmed")]
    harness.tech.say("calibrate 3")
    harness.tech.begin("yes")
    harness.tech.shell.interrupt()
    assert outcomes(harness, start)[2:] == [("calibrate 3", "begun"), ("calibrate 3", "left")]
    harness.tech.say("calibrate 3")
    harness.tech.say("yes")
    harness.sim.world.fault(3, "short", amps=60)
    harness.tech.wait(0.5)
    harness.tech.say("220 1.0")
    assert outcomes(harness, start)[4:] == [("calibrate 3", "begun"), ("calibrate 3", "fault_latched")]


ON_RELAYS = ("on 3 60", "off 3", "clear 3", "lock 3 broken", "unlock 3", "selftest", "relay 3 cycle 2", "alert test 3",
             "rcd test", "siren test", "contactor open", "replace 3", "calibrate 3", "commission", "wear",
             "maintenance", "job")  # fmt: skip


@pytest.fixture(scope="module")
def without_guard(tmp_path_factory):
    return RoleHarness(tmp_path_factory.mktemp("gone"), "guard_dead")


@pytest.mark.parametrize("line", ON_RELAYS)
def test_without_a_guard_it_is_said_at_once_and_nothing_is_done(without_guard, line):
    harness = without_guard
    before = len(harness.rows())
    said = harness.tech.say(line)
    if "guard" not in said:  # it asks first, and finds out then
        said = harness.tech.say("yes")
    assert said.startswith("The guard does not answer")
    assert [row.outcome for row in harness.rows()[before:]] == ["guard_gone"]
