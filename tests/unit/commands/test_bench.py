"""`cabinet bench`: it switches nothing, refuses beside a guard, and its verdict follows the table."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from msgspec import structs
from smbus2 import i2c_msg

from cabinet.clock import MS
from cabinet.commands import bench
from cabinet.commands.measure import Measurement, _SafeBus
from cabinet.errors import CabinetError
from cabinet.hardware.bus import Bus, ChipPort
from cabinet.hardware.mcp23017 import Mcp23017
from cabinet.system import run_folder
from cabinet_testing.fake_bus import FakeBus
from cabinet_testing.sim_cabinet import demo_config

GOOD = Measurement(True, [2 * MS] * 99 + [2 * MS + MS // 2], [0] * 100, 398_000, 207)


def at(run: Path, simulated: bool = True):
    config = demo_config()
    paths = structs.replace(config.paths, run=str(run))
    hardware = config.hardware if simulated else structs.replace(config.hardware, bus="/dev/i2c-1", pin_factory="lgpio")
    return structs.replace(config, paths=paths, hardware=hardware)


def kept(measured: Measurement, config=None) -> dict[str, bool]:
    return {line.what.partition(",")[0]: line.kept for line in bench.lines(measured, config or demo_config())}


def test_bench_refuses_while_a_guard_runs(tmp_path):
    path = run_folder.guard_socket(tmp_path)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.bind(str(path))
        guard.listen()
        with pytest.raises(CabinetError, match="the guard runs"):
            bench.refuse_beside_a_guard(at(tmp_path))
    bench.refuse_beside_a_guard(at(tmp_path))  # its socket is left behind, but nothing listens


def test_bench_on_real_chips_needs_everything_switched_off(tmp_path):
    with pytest.raises(CabinetError, match="cabinet-failsafe"):
        bench.refuse_beside_a_guard(at(tmp_path, simulated=False))
    (tmp_path / "everything-off").touch()
    bench.refuse_beside_a_guard(at(tmp_path, simulated=False))


def test_computer_as_promised_keeps_every_line():
    assert kept(GOOD) == {"turn": True, "lateness": True, "bus": True, "transfer": True}
    shown = bench.table(bench.lines(GOOD, demo_config()))
    assert "NOT KEPT" not in shown
    assert "398" in shown


def test_each_measured_value_over_its_limit_is_named():
    assert not kept(structs.replace(GOOD, turns_ns=[3 * MS] * 100))["turn"], "with charges it is over 3 ms"
    assert not kept(structs.replace(GOOD, lates_ns=[0] * 99 + [6 * MS]))["lateness"]
    assert not kept(structs.replace(GOOD, bus_hz=160_000))["bus"]
    assert not kept(structs.replace(GOOD, transfer_us=460))["transfer"]


def test_large_cabinet_with_alert_lines_is_scanned_without_a_pause():
    config = demo_config()
    longest = structs.replace(config, guard=structs.replace(config.guard, scan_period_s=0.005))
    slow = structs.replace(GOOD, turns_ns=[11 * MS] * 100)
    assert kept(slow, longest)["turn"]
    polled = structs.replace(longest, outlet=(structs.replace(config.outlet[0], alert=None), *config.outlet[1:]))
    assert not kept(slow, polled)["turn"]


def test_relays_are_not_driven_by_the_bench():
    """Words for the expanders of the relays never reach the bus; they are read back as written."""
    seen: list[int] = []

    class Spy:
        def i2c_rdwr(self, *messages: i2c_msg) -> None:
            seen.append(messages[0].addr)

        def prepare(self, *messages: i2c_msg) -> Callable[[], None]:
            return partial(self.i2c_rdwr, *messages)

    bus = _SafeBus(cast(Bus, Spy()), (0x20,))
    bus.i2c_rdwr(i2c_msg.write(0x20, [0x14, 0x34, 0x12]))
    for register in (0x14, 0x12):  # the latch, and the pins that follow it
        answer = i2c_msg.read(0x20, 2)
        bus.i2c_rdwr(i2c_msg.write(0x20, [register]), answer)
        assert bytes(answer) == b"\x34\x12"
    assert seen == []
    bus.i2c_rdwr(i2c_msg.write(0x38, [2, 0x1C]), i2c_msg.read(0x38, 3))
    bus.prepare(i2c_msg.write(0x70, [1]))()
    assert seen == [0x38, 0x70]


def test_drivers_of_the_relays_reach_no_chip_by_any_call():
    seen: list[int] = []

    class Spy(FakeBus):
        def i2c_rdwr(self, *messages: i2c_msg) -> None:
            seen.append(messages[0].addr)

    bus = cast(Bus, _SafeBus(cast(Bus, Spy({})), (0x20,)))
    chip = Mcp23017(ChipPort(bus, "MCP23017", 0x20))
    chip.initialise(0xFFFF)
    chip.write_outputs(0x1234)
    assert (chip.latch(), chip.levels(), chip.directions()) == (0x1234, 0x1234, 0)
    assert seen == []
    for name in ("write_byte", "write_byte_data", "write_i2c_block_data"):
        assert not hasattr(bus, name), f"{name} would go past the memory of the expanders"
