"""Tariffs and tokens on the property company's pages."""

from pathlib import Path

import pytest

from cabinet.billing import tariff_files
from cabinet.records import Role
from cabinet.service.ports import USAGE_READ
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import PropertyHarness, secrets_on, tell
from cabinet_testing.service_harness import NOON_MS

GOOD = """
version = "summer-2026"
valid_from = 2026-06-01
start_fee_fen = 0
service_fen_per_kwh = 50
time_bands = [{ from_w = 0, fen_per_hour = 0 }]
energy_periods = [{ start = "00:00", end = "24:00", electricity_fen_per_kwh = 51.03 }]
"""


def files(at: PropertyHarness) -> dict[str, str]:
    return {path.name: path.read_text() for path in tariff_files.folder(at.harness.config).glob("*")}


def test_the_posted_prices_are_told_in_words_with_a_receipt_to_try(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("viewer")
        version = at.harness.config.tariff.version
        shown = await browser.page(f"/property/tariffs?version={version}&minutes=60&watts=150&time=12:00")
        assert shown.mistakes == []
        assert f"{version} 使用中" in shown.text
        assert f"按 {version} 计算的收据" in shown.text
        assert "充电时间（0–200 瓦） 1 小时 × 0.20 元/小时 0.20 元" in shown.text
        assert shown.all("textarea") == [], "a viewer changes nothing"
        for wrong in ("version=none", f"version={version}&watts=0", f"version={version}&time=25:00"):
            assert (await browser.get(f"/property/tariffs?{wrong}")).status_code in (400, 404)

    tell(tmp_path, story)


def test_a_new_version_is_checked_then_scheduled_and_in_force_from_its_day(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        looked = Page((await browser.send("/property/tariffs/check", text=GOOD, minutes="360", watts="180")).text)
        assert looked.mistakes == []
        assert "summer-2026 没有错误" in looked.text
        assert "1.080 度 × 0.5103 元/度 0.55 元" in looked.text
        assert files(at) == {}
        assert (await browser.send("/property/tariffs/schedule", text=GOOD)).headers["location"] == "/property/tariffs"
        assert files(at) == {"summer-2026.toml": GOOD}
        assert "summer-2026 将要启用" in (await browser.page("/property/tariffs")).text
        assert (await at.service.charges.price("A7K2", "")).version != "summer-2026"
        at.harness.clock.set_wall(NOON_MS + 3 * 86_400_000, trusted=True)
        assert (await at.service.charges.price("A7K2", "")).version == "summer-2026"
        assert at.audit() == [("the operator", "tariff_schedule", "summer-2026", "2026-06-01")]

    tell(tmp_path, story)


def test_an_uploaded_file_is_looked_at_as_a_pasted_one(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        answer = await browser.send("/property/tariffs/check", files={"file": ("s.toml", GOOD.encode(), "text/plain")})
        assert "summer-2026 没有错误" in Page(answer.text).text
        answer = await browser.send("/property/tariffs/check", files={"file": ("s.toml", b"\xff\xfe", "text/plain")})
        assert answer.status_code == 400

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("51.03", '"dear"'), "electricity_fen_per_kwh"),
        (("version = ", "version : "), "not valid TOML"),
        (("from_w = 0", "from_w = 5"), "time_bands"),
        (("service_fen_per_kwh", "servce_fen"), "servce_fen"),
        (("2026-06-01", "2026-05-29"), "生效日期必须在今天之后"),
        (("valid_from = 2026-06-01", "outlets = [12]\nvalid_from = 2026-06-01"), "outlet 12 is not in cabinet.toml"),
    ],
)
def test_a_tariff_that_cannot_be_is_never_put_into_force(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        text = GOOD.replace(*change)
        assert words in Page((await browser.send("/property/tariffs/check", text=text)).text).text
        answer = await browser.send("/property/tariffs/schedule", text=text)
        assert answer.status_code == 400
        assert words in Page(answer.text).text
        assert files(at) == {}
        assert at.audit() == []

    tell(tmp_path, story)


def test_a_version_that_is_there_is_never_changed(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        await browser.send("/property/tariffs/schedule", text=GOOD)
        dearer = GOOD.replace("51.03", "99").replace("2026-06-01", "2026-06-02")
        answer = await browser.send("/property/tariffs/schedule", text=dearer)
        assert answer.status_code == 400
        assert "both are version" in Page(answer.text).text
        assert files(at) == {"summer-2026.toml": GOOD}

    tell(tmp_path, story)


def test_a_file_of_that_name_is_not_written_over(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        folder = tariff_files.folder(at.harness.config)
        folder.mkdir(parents=True)
        (folder / "summer-2026.toml").write_text("broken")
        answer = await (await at.browser()).send("/property/tariffs/schedule", text=GOOD)
        assert answer.status_code == 400
        assert files(at) == {"summer-2026.toml": "broken"}

    tell(tmp_path, story)


@pytest.mark.parametrize("role", ["accountant", "viewer"])
def test_only_operators_change_tariffs_and_tokens(tmp_path: Path, role: Role) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(role)
        for path in ("tariffs/check", "tariffs/schedule", "tokens", "tokens/revoke"):
            fields = {"text": GOOD, "name": "x", "days": "30", f"scope-{USAGE_READ}": "true"}
            assert (await browser.send(f"/property/{path}", **fields)).status_code == 403
        assert (await browser.get("/property/tokens")).status_code == 403
        assert files(at) == {}
        assert at.audit() == []

    tell(tmp_path, story)


def test_a_token_is_shown_once_opens_its_scope_and_is_revoked(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        fields = {"name": "收费系统", "days": "30", f"scope-{USAGE_READ}": "true"}
        shown = Page((await browser.send("/property/tokens", **fields)).text)
        (token,) = secrets_on(shown)
        await at.service.accounts.check_scope(token, USAGE_READ)
        listed = await browser.page("/property/tokens")
        assert listed.mistakes == []
        assert "收费系统 usage:read" in listed.text
        assert "还有 30 天" in listed.text
        assert token not in listed.text
        assert (await browser.send("/property/tokens", **fields)).status_code == 409
        assert (await browser.send("/property/tokens/revoke", name="收费系统")).status_code == 303
        with pytest.raises(Exception, match="wrong_token"):
            await at.service.accounts.check_scope(token, USAGE_READ)
        await browser.send("/property/tokens/revoke", name="收费系统")
        assert at.audit() == [
            ("the operator", "token_add", "收费系统", "usage:read 30"),
            ("the operator", "token_revoke", "收费系统", ""),
        ]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x", "days": "30"},
        {"name": "", "days": "30", f"scope-{USAGE_READ}": "true"},
        {"name": "x", "days": "0", f"scope-{USAGE_READ}": "true"},
        {"name": "x", "days": "1831", f"scope-{USAGE_READ}": "true"},
        {"name": "x", "days": "many", f"scope-{USAGE_READ}": "true"},
        {"name": "x", "days": "30", "scope-everything": "true"},
    ],
)
def test_a_token_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    async def story(at: PropertyHarness) -> None:
        assert (await (await at.browser()).send("/property/tokens", **fields)).status_code == 400
        assert at.audit() == []

    tell(tmp_path, story)
