"""The clocks that everything else is handed."""

import struct

import pytest

from cabinet.clock import MS, NS, ManualClock, SystemClock, boot_id, wall_time_is_synchronised


def test_manual_clock_moves_only_when_told_and_both_times_together():
    clock = ManualClock(start_ns=5 * NS, unix_ms=1_000_000)
    assert (clock.monotonic_ns(), clock.wall().unix_ms) == (5 * NS, 1_000_000)
    clock.advance_ns(250 * MS)
    assert (clock.monotonic_ns(), clock.wall().unix_ms) == (5 * NS + 250 * MS, 1_000_250)


def test_sleeping_on_a_manual_clock_takes_it_to_the_deadline_and_never_back():
    clock = ManualClock()
    clock.sleep_until(9 * NS)
    assert clock.monotonic_ns() == 9 * NS
    clock.sleep_until(3 * NS)
    assert clock.monotonic_ns() == 9 * NS


def test_manual_clock_refuses_to_go_back():
    clock = ManualClock()
    with pytest.raises(ValueError, match="cannot go back by 1 ns"):
        clock.advance_ns(-1)
    assert clock.monotonic_ns() == NS


def test_wall_clock_may_jump_and_monotonic_time_does_not_notice():
    clock = ManualClock()
    before = clock.monotonic_ns()
    clock.set_wall(0, trusted=False)
    assert (clock.monotonic_ns(), clock.wall().unix_ms, clock.wall().trusted) == (before, 0, False)
    clock.advance_ns(2 * NS)
    assert clock.wall().unix_ms == 2000


def test_system_clock_never_goes_back_and_reaches_its_deadlines():
    clock = SystemClock()
    times = [clock.monotonic_ns() for _ in range(1000)]
    assert times == sorted(times)
    deadline_ns = clock.monotonic_ns() + 2 * MS
    clock.sleep_until(deadline_ns)
    assert clock.monotonic_ns() >= deadline_ns
    clock.sleep_until(0)


def test_system_clock_says_whether_it_is_to_be_trusted():
    assert SystemClock().wall().trusted is wall_time_is_synchronised()


ADJ_OK, TIME_ERROR, STA_UNSYNC = 0, 5, 0x40


@pytest.mark.parametrize(
    ("returned", "maxerror_us", "status", "trusted"),
    [
        (TIME_ERROR, 9_800, STA_UNSYNC, True),  # chrony without rtcsync
        (TIME_ERROR, 16_000_000, STA_UNSYNC, False),  # never set since the start
        (ADJ_OK, 500, 0, True),
        (ADJ_OK, 15_999_999, 0, True),
        (ADJ_OK, 16_000_000, 0, False),
        (-1, 0, 0, False),  # not permitted
    ],
)
def test_wall_clock_is_trusted_by_its_error_as_systemd_judges_it(monkeypatch, returned, maxerror_us, status, trusted):
    class Libc:
        def adjtimex(self, buffer):
            struct.pack_into("=i4xqqqqi", buffer, 0, 0, 0, 0, maxerror_us, 16_000_000, status)
            return returned

    monkeypatch.setattr("cabinet.clock.ctypes.CDLL", lambda *_, **__: Libc())
    assert wall_time_is_synchronised() is trusted


def test_boot_has_an_id_that_stays():
    assert boot_id() == boot_id() != ""
