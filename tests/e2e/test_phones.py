"""The quick part of `bench.phones`: fifty live pages, and the service takes no more memory for the later events."""

import pytest

from bench.footprint import memory_mb
from bench.viewers import Viewers, charge_everywhere
from cabinet_testing.real_cabinet import RealCabinet, wait_for

pytestmark = pytest.mark.slow

PHONES = 50
OUTLETS = [(1, "A7K2"), (6, "F9H3")]
EVENTS_TO_SETTLE, EVENTS = 15 * PHONES, 60 * PHONES
FLAT_MB = 4.0


def test_fifty_phones_on_live_pages_leave_the_service_as_large_as_it_was(cabinet: RealCabinet):
    pid = cabinet.processes["service"].popen.pid
    charges = charge_everywhere(cabinet, OUTLETS)
    with Viewers(cabinet.url, charges, PHONES) as viewers:
        wait_for("the first events", lambda: viewers.events > EVENTS_TO_SETTLE, 120)
        before_mb, _ = memory_mb(pid)
        wait_for("many more", lambda: viewers.events > EVENTS, 120)
        after_mb, _ = memory_mb(pid)
    print(f"service {before_mb:.1f} MB RSS, {after_mb:.1f} after {viewers.events} events to {PHONES} phones")
    assert viewers.refused == []
    assert after_mb - before_mb < FLAT_MB
    assert [cabinet.phase(charge.outlet) for charge in charges] == ["charging"] * len(charges)
