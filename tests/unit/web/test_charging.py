"""A charge's page in each of its shapes, and who may see it."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.clock import WallTime
from cabinet.model import EndReason, Fault
from cabinet.records import CurvePoint
from cabinet.service.ports import ExpectedEnd
from cabinet.texts import table
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]


def put(service: FakeService, **changes: Any) -> None:
    service.session_views["s1"] = (1, fake_service.session("s1", **changes))


def test_waiting_asks_to_plug_in_counts_down_and_can_be_cancelled(resident: Client, service: FakeService) -> None:
    put(service, state="waiting_for_load", wait_left_s=97, lines=[], cost_fen=0)
    answer = resident.get("/charge/s1")
    shown = page(answer)
    assert "请现在插上充电器" in shown.text
    assert "还剩 1:37" in shown.text
    assert "没有插上，不收费" in shown.text
    assert shown.all("form", action="/charge/s1/stop")


def test_charging_shows_power_time_energy_cost_its_lines_and_what_is_left(
    resident: Client, service: FakeService
) -> None:
    put(service)
    text = page(resident.get("/charge/s1")).text
    for figure in ("152 瓦", "1 小时 23 分", "0.207 度", "已用金额 0.44 元", "预付剩余 4.56 元"):
        assert figure in text
    assert "充电时间（0–200 瓦） 1 小时 23 分 × 0.20 元/小时 0.27 元" in text
    assert "电费（08:00-24:00） 0.207 度 × 0.55 元/度 0.11 元" in text
    assert "其中电费 0.11 元，服务费 0.33 元" in text


@pytest.mark.parametrize(("language", "title"), [("zh", "记录校验值（SHA-256）"), ("en", "Record's hash (SHA-256)")])
def test_a_receipt_carries_the_hash_of_its_record(
    resident: Client, service: FakeService, language: str, title: str
) -> None:
    """It is in groups that can be read out and typed; a charge that is not settled has none."""
    record_hash = "0123456789abcdef" * 4
    put(service, state="settled", usage_number=17, end_reason=EndReason.FULL, record_hash=record_hash)
    resident.cookies.set("language", language)
    shown = page(resident.get("/charge/s1"))
    assert f"{title} {' '.join(['0123456789abcdef'] * 4)}" in shown.text
    put(service)
    assert title not in page(resident.get("/charge/s1")).text


def test_a_choice_of_hours_shows_what_is_left_of_it(resident: Client, service: FakeService) -> None:
    put(service, choice="hours", choice_amount=7200)
    assert "按时间 2 小时 · 还剩 37 分钟" in page(resident.get("/charge/s1")).text


def test_power_that_is_not_known_is_a_dash_and_never_zero(resident: Client, service: FakeService) -> None:
    put(service, power_mw=None)
    assert "功率 —" in page(resident.get("/charge/s1")).text
    put(service, power_mw=152_000)
    service.guard_answers = False
    assert "功率 —" in page(resident.get("/charge/s1")).text


def test_a_suspended_charge_says_that_it_goes_on_by_itself(resident: Client, service: FakeService) -> None:
    put(service, state="suspended")
    assert "恢复后会自动继续。中断期间不收费" in page(resident.get("/charge/s1")).text


@pytest.mark.parametrize(("state", "seconds"), [("waiting_for_load", "5"), ("charging", "15"), ("finished", "15")])
def test_without_javascript_a_running_charge_refreshes_itself(
    resident: Client, service: FakeService, state: str, seconds: str
) -> None:
    put(service, state=state)
    html = resident.get("/charge/s1").text
    assert f'<noscript><meta http-equiv="refresh" content="{seconds}"></noscript>' in html
    assert html.count('http-equiv="refresh"') == 1


def test_stop_settles_and_the_same_address_is_the_receipt(resident: Client, service: FakeService) -> None:
    put(service)
    answer = send(resident, "/charge/s1/stop")
    assert (answer.status_code, answer.headers["location"]) == (303, "/charge/s1")
    assert ("stop", 1, "s1") in service.calls
    receipt = resident.get("/charge/s1")
    text = page(receipt).text
    for fact in ("您已停止充电", "DEMO-1-20261124-s1", "3 号（C5T4）", "本次收费 0.44 元", "4.56 元 已退回余额"):
        assert fact in text
    assert "2026年11月24日 14:00:00" in text
    assert "2026年11月24日 15:23:10" in text
    assert "test-1" in text
    assert "http-equiv" not in receipt.text
    assert "sse-connect" not in receipt.text


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(("language", "charged", "free"), [
    ("zh", "本次收费 0.44 元", "这次没有收费"), ("en", "You were charged ¥0.44", "You were not charged"),
])  # fmt: skip
def test_a_trip_says_what_happened_and_what_was_charged(
    resident: Client, service: FakeService, fault: Fault, language: str, charged: str, free: str
) -> None:
    resident.cookies.set("language", language)
    words = table("common", language)
    service.session_views["s1"] = (1, fake_service.settled("s1", EndReason.TRIPPED, fault=fault))
    text = page(resident.get("/charge/s1")).text
    assert words[f"fault.{fault.value}.resident"] in text
    assert charged in text
    service.session_views["s1"] = (
        1, fake_service.settled("s1", EndReason.TRIPPED, fault=fault, cost_fen=0, lines=[], refund_fen=500)
    )  # fmt: skip
    assert free in page(resident.get("/charge/s1")).text


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_has_its_words_on_the_receipt(resident: Client, service: FakeService, reason: EndReason) -> None:
    service.session_views["s1"] = (1, fake_service.settled("s1", reason))
    answer = resident.get("/charge/s1")
    assert answer.status_code == 200
    assert table("web", "zh")[f"ended.{reason.value}"] in page(answer).text


def test_a_receipt_says_when_the_clock_was_not_set(resident: Client, service: FakeService) -> None:
    untrusted = WallTime(fake_service.STARTED.unix_ms, False)
    service.session_views["s1"] = (1, fake_service.settled("s1", started=untrusted))
    assert "时钟没有校准" in page(resident.get("/charge/s1")).text


@pytest.mark.parametrize(
    "path", ["/charge/s1", "/charge/s1/curve", "/charge/s1/live", "/charge/none", "/charge/none/curve"]
)
def test_anothers_charge_is_not_found_as_if_it_did_not_exist(client: Client, service: FakeService, path: str) -> None:
    put(service)
    client.cookies.set("resident", "resident-2")
    answer = client.get(path)
    assert answer.status_code == 404
    assert "没有找到这次充电" in page(answer).text
    assert "DEMO-1" not in answer.text


def test_anothers_charge_cannot_be_stopped(client: Client, service: FakeService) -> None:
    put(service)
    client.cookies.set("resident", "resident-2")
    assert send(client, "/charge/s1/stop").status_code == 404
    assert not [call for call in service.calls if call[0] == "stop"]


@pytest.mark.parametrize("path", ["/charge/s1", "/charge/s1/curve", "/charge/s1/live"])
def test_a_charge_is_shown_to_nobody_who_is_not_signed_in(client: Client, service: FakeService, path: str) -> None:
    put(service)
    answer = client.get(path)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")


def test_the_curve_gives_the_points_after_a_second(resident: Client, service: FakeService) -> None:
    put(service)
    service.points = [CurvePoint(0, 10), CurvePoint(10, 150), CurvePoint(20, 151)]
    scales = {"watts": [0, 50, 100, 150, 200], "minutes": [0, 1]}
    assert resident.get("/charge/s1/curve").json() == {"points": [[0, 10], [10, 150], [20, 151]], **scales}
    assert resident.get("/charge/s1/curve", params={"after": 10}).json() == {"points": [[20, 151]], **scales}
    assert resident.get("/charge/s1/curve", params={"after": "x"}).status_code == 400


def test_the_stream_of_a_charge_that_is_over_sends_its_receipt_and_closes(
    resident: Client, service: FakeService
) -> None:
    service.session_views["s1"] = (1, fake_service.settled("s1"))
    answer = resident.get("/charge/s1/live", params={"shape": "charging"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events == ["body", "notice", "announce", "headline", "figures", "curve_words", "bill", "close"]
    assert "本次收费 0.44\u00a0元" in answer.text


def test_the_stream_does_not_repeat_a_body_the_page_has(resident: Client, service: FakeService) -> None:
    service.session_views["s1"] = (1, fake_service.settled("s1"))
    answer = resident.get("/charge/s1/live", params={"shape": "receipt"})
    assert "event: body" not in answer.text
    assert answer.text.rstrip().endswith("event: close\r\ndata:")


def test_a_stop_asks_once_more_without_a_script(resident: Client, service: FakeService) -> None:
    put(service)
    html = resident.get("/charge/s1").text
    inside = html.split('<details class="confirm">')[1].split("</details>")[0]
    assert inside.index("停止充电</summary>") < inside.index('action="/charge/s1/stop"') < inside.index("确定停止")
    assert html.count('action="/charge/s1/stop"') == 1


def test_calling_a_charge_off_before_it_began_asks_nothing(resident: Client, service: FakeService) -> None:
    put(service, state="waiting_for_load", wait_left_s=97, lines=[], cost_fen=0)
    assert "<details" not in resident.get("/charge/s1").text


def test_a_charge_that_is_being_settled_cannot_be_stopped_again(resident: Client, service: FakeService) -> None:
    put(service, state="finished", end_reason=EndReason.FULL)
    shown = page(resident.get("/charge/s1"))
    assert "正在结算" in shown.text
    assert not shown.all("form", action="/charge/s1/stop")


def test_the_countdown_can_run_by_itself(resident: Client, service: FakeService) -> None:
    put(service, state="waiting_for_load", wait_left_s=97, lines=[], cost_fen=0)
    shown = page(resident.get("/charge/s1"))
    assert shown.all("span", **{"data-countdown": "97"})
    assert shown.all("progress", max="120", value="97")


def end_of(left_s: int, basis: str, trusted: bool = True) -> ExpectedEnd:
    at = WallTime(fake_service.STARTED.unix_ms + left_s * 1000, trusted)
    return ExpectedEnd(left_s, at, basis)  # type: ignore[arg-type]


def test_an_end_that_is_not_known_is_called_so_with_the_latest(resident: Client, service: FakeService) -> None:
    put(service, latest_end=end_of(18_000, "money"))
    text = page(resident.get("/charge/s1")).text
    assert "预计结束 还不知道 功率开始下降后才能估计，充满自动停。" in text
    assert "最晚 19:00 左右（还有约 5 小时）停：按现在的功率，预付用完。" in text


@pytest.mark.parametrize(
    ("basis", "why"),
    [
        ("time", "到时买的时间用完；先充满就先停。"),
        ("package", "到时套餐用完；先充满就先停。"),
        ("money", "按现在的功率，到时金额用完；先充满就先停。"),
        ("longest", "一次最多充这么久；先充满就先停。"),
        ("taper", "快充满了，按功率下降的快慢估计。"),
    ],
)
def test_an_expected_end_says_what_it_follows_from(
    resident: Client, service: FakeService, basis: str, why: str
) -> None:
    put(service, expected_end=end_of(2230, basis))
    assert f"预计结束 14:37 左右（还有约 37 分钟） {why}" in page(resident.get("/charge/s1")).text


def test_with_a_clock_that_may_be_wrong_only_the_rest_is_told(resident: Client, service: FakeService) -> None:
    put(service, expected_end=end_of(2230, "time", trusted=False))
    text = page(resident.get("/charge/s1")).text
    assert "预计结束 约 37 分钟后" in text
    assert "14:37" not in text


def test_what_an_hour_costs_follows_the_power_of_this_charger(resident: Client, service: FakeService) -> None:
    put(service, hour_fen=32)
    assert "按现在的功率，每小时约 0.32 元" in page(resident.get("/charge/s1")).text


def test_the_curve_is_said_in_words_too(resident: Client, service: FakeService) -> None:
    put(service)
    service.points = [CurvePoint(10, 100), CurvePoint(20, 200), CurvePoint(3600, 60)]
    shown = page(resident.get("/charge/s1"))
    assert "1 小时内最高 200 瓦，平均 120 瓦，最后 60 瓦。" in shown.text
    assert shown.all("div", role="img", **{"aria-label": "功率曲线（瓦，横轴为分钟）"})


def test_a_trip_that_cost_the_energy_only_says_so_and_no_other_does(resident: Client, service: FakeService) -> None:
    tripped: dict[str, Any] = {"reason": EndReason.TRIPPED, "fault": Fault.OVERCURRENT}
    energy = fake_service.settled("s1", **tripped, cost_fen=11, lines=fake_service.LINES[1:2])
    service.session_views["s1"] = (1, energy)
    assert "只收已经充进去的电费 0.11 元，不收其他费用。" in page(resident.get("/charge/s1")).text
    both = fake_service.settled("s1", **tripped, cost_fen=17, lines=fake_service.LINES[1:])
    service.session_views["s1"] = (1, both)
    text = page(resident.get("/charge/s1")).text
    assert "只收已充电量的电费和服务费，共 0.17 元；不收充电时间费和启动费。" in text
    assert "不收其他费用" not in text
    service.session_views["s1"] = (1, fake_service.settled("s1", **tripped))
    text = page(resident.get("/charge/s1")).text
    assert "本次收费 0.44 元。" in text
    assert "不收其他费用" not in text
