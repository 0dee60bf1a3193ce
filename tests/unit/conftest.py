"""Files that are too slow for `make quick`: each takes more than about two seconds on an idle machine."""

from pathlib import Path

import pytest

SLOW_FILES = {
    ".": "atomic_file",
    "commands": "uplink",
    "console": "commissioning doing examples machine roles updates",
    "fleet": "enrolment order_keys trust_commands",
    "guard": "alerts bus_speed bus_view cabinet_faults closing_queue demo_ticks evidence guard kept_state maintenance "
    "recorder shorts stuck_registers thermometers watching wear",
    "protections": "battery pulses_that_repeat stillness",
    "service": "clock_jumps commands killed_anywhere terms whole_session",
    "stickers": "stickers",
    "uplink": "broker_rights enrolment link_faults trust_and_clock uplink",
    "web": "api_schema attacks fuzz property_residents property_staff property_usage sim walks",
}  # fmt: skip
SLOW = {
    Path(__file__).parent / room / f"test_{name}.py" for room, names in SLOW_FILES.items() for name in names.split()
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gone = [str(path) for path in SLOW if not path.exists()]
    if gone:
        raise pytest.UsageError(f"SLOW_FILES names files that do not exist: {gone}")
    for item in items:
        if item.path in SLOW:
            item.add_marker(pytest.mark.slow)
