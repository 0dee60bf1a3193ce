"""The line for power on the real processes: who comes when the feed is used up is started when it is free again."""

import pytest

from cabinet_testing.real_cabinet import running, wait_for

pytestmark = pytest.mark.slow

SCARCE = {"[charge]": "[feed]\nlimit_w = 400\n\n[charge]"}


def test_who_waits_in_line_is_started_when_power_is_free_first_come_first_served(tmp_path):
    with running(tmp_path, SCARCE, "sim", "guard", "service", gentle=True) as cabinet:
        here, first, second = (cabinet.resident(f"6000000{number}") for number in (1, 2, 3))
        for outlet in (1, 2, 3):
            cabinet.plug(outlet, "resistor:375")
        path = here.start("A7K2").url.path

        wait_for("the line on offer", lambda: "要排队吗" in first.client.get("/s/B3M9").text)

        assert first.start("B3M9").url.path == "/s/B3M9", "no charge of its own yet"
        second.start("C5T4")
        assert "下一个就是您" in first.client.get("/s/B3M9").text
        assert "第 2" in second.client.get("/s/C5T4").text
        assert [cabinet.phase(n) for n in (2, 3)] == ["idle", "idle"]

        here.send(here.client.get(path), f"{path}/stop")
        wait_for("the first in line", lambda: cabinet.phase(2) == "charging")
        assert cabinet.phase(3) == "idle", "there is power for one"
        wait_for("a way to its charge", lambda: "/charge/" in first.client.get("/s/B3M9").text)
        assert "下一个就是您" in second.client.get("/s/C5T4").text
