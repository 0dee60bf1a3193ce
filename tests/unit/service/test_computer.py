"""Problems of the computer: the service reads them again and again, logs a change, and shows them to staff."""

import asyncio
from pathlib import Path

from cabinet.system.computer_state import computer_root
from cabinet_testing.service_harness import ServiceHarness


def test_heat_is_found_logged_once_and_over_when_it_is_over(tmp_path: Path, caplog) -> None:
    async def whole() -> None:
        harness = ServiceHarness(tmp_path)
        zone = computer_root(harness.config) / "sys/class/thermal/thermal_zone0/temp"
        zone.parent.mkdir(parents=True)
        async with harness.running() as service:
            seen = []
            for temperature in ("61000", "84000", "85000", "70000"):
                zone.write_text(temperature)
                service.housekeeping.publish_status()
                seen.append(service.charges.computer_problems())
            assert seen == [[], ["hot"], ["hot"], []]

    asyncio.run(whole())
    assert caplog.text.count("the computer: hot") == 1
