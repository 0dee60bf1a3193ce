"""Staff commands for relays on real processes: without a service, and without a console that stays connected."""

from collections.abc import Iterator

import pytest

from cabinet_testing.real_cabinet import RealCabinet, running, wait_for
from cabinet_testing.serial_terminal import SerialTerminal

YES = r"yes.*[:：] ?$"


@pytest.fixture(scope="module")
def without_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCabinet]:
    with running(tmp_path_factory.mktemp("staff"), None, "sim", "guard", "console") as cabinet:
        wait_for("an outlet that may be closed", lambda: cabinet.outlet(3).refusal is None)
        yield cabinet


def confirmed(console: SerialTerminal, line: str) -> str:
    """Return the command's output after a yes."""
    console.ask(line, YES)
    return console.run("yes")


def test_every_do_on_relays_works_with_the_service_dead(without_service: RealCabinet) -> None:
    cabinet = without_service
    cabinet.plug(3, "resistor:60")
    with SerialTerminal(cabinet) as console:
        console.log_in()
        console.run("language en")
        assert "2 of 2 cycles: current in 2" in confirmed(console, "relay 3 cycle 2")
        confirmed(console, "lock 4 broken")
        assert cabinet.outlet(4).note == "broken"
        assert "broken" in console.run("maintenance")
        confirmed(console, "unlock 4")
        assert cabinet.outlet(4).note is None
        assert "line that moved: 3" in confirmed(console, "alert test 3")
        assert "PASSED" in confirmed(console, "selftest 5")
        assert "operations" in console.run("wear")
        confirmed(console, "contactor open")
        assert not cabinet.snapshot().contactor_closed
        confirmed(console, "contactor close")
        wait_for("the contactor closed", lambda: cabinet.snapshot().contactor_closed)


def test_outlet_closed_for_a_test_opens_although_console_and_service_are_gone(without_service: RealCabinet) -> None:
    cabinet = without_service
    wait_for("an outlet that may be closed", lambda: cabinet.outlet(3).refusal is None)
    console = SerialTerminal(cabinet)
    console.log_in()
    confirmed(console, "on 3 4")
    wait_for("the outlet closed", lambda: cabinet.outlet(3).closed)
    cabinet.processes["console"].kill()
    wait_for("the outlet open", lambda: not cabinet.outlet(3).closed)
    wait_for("the contacts apart", cabinet.all_contacts_open)  # some milliseconds after the command
