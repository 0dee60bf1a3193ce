"""Two-step sign-in on the property company's pages: set up, used, switched off."""

import re
from pathlib import Path

import httpx
import pytest
import segno
import zxingcpp

from cabinet.clock import NS
from cabinet.records import ROLES, Role
from cabinet.service.accounts import totp
from cabinet.store import second_factors
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import PASSWORD, Browser, PropertyHarness, staff_id, tell

PATH = "/property/second-factor"


async def secret_of(at: PropertyHarness, name: str) -> bytes:
    who = staff_id(at.harness, name)
    row = await at.service.context.storage.read(lambda c: second_factors.of_staff(c, who))
    assert row is not None
    return row.secret


def code(at: PropertyHarness, secret: bytes) -> str:
    return totp.code_of(secret, at.harness.clock.wall().unix_ms // 1000 // totp.STEP_S)


async def switch_on(at: PropertyHarness, browser: Browser, name: str) -> tuple[bytes, list[str]]:
    """The secret and the recovery codes."""
    assert (await browser.send(f"{PATH}/begin")).headers["location"] == PATH
    secret = await secret_of(at, name)
    answer = await browser.send(PATH, code=code(at, secret))
    assert answer.headers["cache-control"] == "no-store"
    at.harness.clock.advance_ns(totp.STEP_S * NS)
    return secret, [word for word in Page(answer.text).words if re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", word)]


def key_on(answer: httpx.Response) -> str:
    (found,) = Page(answer.text).all("input", name="key")
    return found["value"]


@pytest.mark.parametrize("role", ROLES)
def test_every_role_sets_it_up_and_signs_in_with_it(tmp_path: Path, role: Role) -> None:
    async def story(at: PropertyHarness) -> None:
        browser, name = await at.browser(role), f"the {role}"
        secret, codes = await switch_on(at, browser, name)
        assert len(set(codes)) == 10
        again = await browser.page(PATH)
        assert "两步验证已开启" in again.text
        assert not set(codes) & set(again.words)
        other = await at.browser(None)
        asked = await other.send("/property/sign-in", name=name, password=PASSWORD)
        assert asked.status_code == 200
        assert "staff" not in other.client.cookies
        assert (await other.get("/property")).status_code == 303
        wrong = await other.send("/property/sign-in/code", key=key_on(asked), code="000000")
        assert wrong.status_code == 401
        assert "动态验证码不对" in Page(wrong.text).text
        right = await other.send("/property/sign-in/code", key=key_on(wrong), code=code(at, secret))
        assert (right.status_code, right.headers["location"]) == (303, "/property")
        await other.page("/property")
        last = await at.browser(None)
        asked = await last.send("/property/sign-in", name=name, password=PASSWORD)
        assert (await last.send("/property/sign-in/code", key=key_on(asked), code=codes[0])).status_code == 303
        assert [entry[:2] for entry in at.audit()] == [
            (name, "second_factor_on"), (name, "sign_in"), (name, "recovery_code"), (name, "sign_in")
        ]  # fmt: skip

    tell(tmp_path, story)


def test_the_page_shows_the_secret_as_text_and_as_a_code_that_a_phone_reads(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        await browser.send(f"{PATH}/begin")
        answer = await browser.get(PATH)
        assert answer.headers["cache-control"] == "no-store"
        shown, secret = Page(answer.text), await secret_of(at, "the operator")
        assert totp.secret_text(secret) in shown.words
        assert shown.mistakes == []
        assert not [1 for _, attributes in shown.elements if "style" in attributes]
        # the same code as a picture, for a reader that takes pictures
        address = totp.address(secret, at.harness.config.site.name, "the operator")
        code = segno.make_qr(address, error="m")
        drawn = [each["d"] for each in shown.all("path") if each.get("stroke") == "#000"]
        assert len(drawn) == 1
        assert drawn[0] in code.svg_inline(scale=5, border=4, light="#fff")
        rows = [bytes(255 * (not dark) for dark in row) for row in code.matrix_iter(scale=5, border=4)]
        image = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
        assert [found.text for found in zxingcpp.read_barcodes(image)] == [address]

    tell(tmp_path, story)


def test_a_wrong_code_switches_nothing_on_and_the_secret_stays(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        await browser.send(f"{PATH}/begin")
        secret = await secret_of(at, "the operator")
        answer = await browser.send(PATH, code="000000")
        assert answer.status_code == 401
        assert totp.secret_text(secret) in Page(answer.text).words
        assert at.audit() == []

    tell(tmp_path, story)


def test_it_is_switched_off_with_a_proof_only(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        await switch_on(at, browser, "the operator")
        wrong = await browser.send(f"{PATH}/off", proof="wrong")
        assert wrong.status_code == 401
        assert "没有关闭" in Page(wrong.text).text
        own = staff_id(at.harness, "the operator")
        assert (await browser.send(f"/property/staff/{own}/second-factor")).status_code == 403
        assert (await browser.send(f"{PATH}/off", proof=PASSWORD)).status_code == 303
        assert "开始设置" in (await browser.page(PATH)).text
        assert [entry[1] for entry in at.audit()] == ["second_factor_on", "second_factor_off"]

    tell(tmp_path, story)


def test_an_operator_switches_it_off_for_who_lost_the_phone_and_nobody_else_does(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        viewer, operator, accountant = [await at.browser(role) for role in ("viewer", "operator", "accountant")]
        await switch_on(at, viewer, "the viewer")
        who = staff_id(at.harness, "the viewer")
        path = f"/property/staff/{who}/second-factor"
        assert "（两步验证）" in (await operator.page("/property/staff")).text
        for other in (accountant, viewer):
            assert (await other.send(path)).status_code == 403
        for _ in range(2):
            assert (await operator.send(path)).status_code == 303
        assert (await operator.send("/property/staff/999/second-factor")).status_code == 404
        assert "（两步验证）" not in (await operator.page("/property/staff")).text
        assert at.audit() == [
            ("the viewer", "second_factor_on", "the viewer", ""),
            ("the operator", "second_factor_off", "the viewer", ""),
        ]
        browser = await at.browser(None)
        answer = await browser.send("/property/sign-in", name="the viewer", password=PASSWORD)
        assert answer.status_code == 303
        assert "关闭两步验证" in (await operator.page("/property/audit")).text

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, 401), ({"key": "made-up", "code": "123456"}, 409), ({"key": "k" * 500, "code": "123456"}, 401),
     ({"key": "k", "code": "1" * 500}, 401)],
)  # fmt: skip
def test_a_second_step_that_has_no_first_signs_nobody_in(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(None)
        answer = await browser.send("/property/sign-in/code", **fields)
        assert answer.status_code == status
        assert "staff" not in browser.client.cookies
        assert Page(answer.text).mistakes == []

    tell(tmp_path, story)


def test_sign_out_in_every_browser_is_offered_there_and_ends_them_all(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        here, elsewhere = await at.browser("operator"), await at.browser("operator")
        assert (await elsewhere.get("/property")).status_code == 200
        assert "在所有浏览器上退出" in (await here.page(PATH)).text
        await here.send("/property/sign-out", everywhere="true")
        assert (await elsewhere.get("/property")).status_code == 303

    tell(tmp_path, story)
