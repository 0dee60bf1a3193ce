"""Residents on the property company's pages: masked, topped up with a way back, blocked, imported, erased."""

import asyncio
import io
import re
from pathlib import Path

import openpyxl
import pytest

from cabinet import secret_hash
from cabinet.clock import NS
from cabinet.records import Role
from cabinet.service.accounts import admin
from cabinet.store.database import Database
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import Browser, PropertyHarness, charge, tell
from cabinet_testing.service_harness import CARDS, FULL, PIN, QUICK

ONE = "/property/residents/1"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("residents", "staff"):
        monkeypatch.setattr(f"cabinet.service.property.{module}.hash_secret", QUICK.hash)
    monkeypatch.setattr("cabinet.service.accounts.residents_import.hash_secret", QUICK.hash)
    monkeypatch.setattr(secret_hash, "_dummy_hash", lambda: QUICK.hash("nobody's"))


async def named(at: PropertyHarness, resident_id: int, name: str) -> None:
    await at.service.context.storage.write(
        lambda c: c.execute("UPDATE resident SET name = ? WHERE id = ?", (name, resident_id))
    )


def hidden(shown: Page, name: str) -> str:
    return next(field["value"] for field in shown.all("input", name=name))


async def topped_up(browser: Browser, amount: str, note: str = "") -> None:
    """Both steps, as a member of staff takes them."""
    asked = await browser.send(f"{ONE}/top-up", amount=amount, note=note)
    assert asked.status_code == 201 or asked.status_code == 200
    shown = Page(asked.text)
    fields = {name: hidden(shown, name) for name in ("amount", "note", "request_key", "confirmed")}
    answer = await browser.send(f"{ONE}/top-up", **fields)
    assert answer.headers["location"] == ONE


def test_cards_and_names_are_masked_and_found_by_their_ends(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await named(at, 1, "王小芳")
        browser = await at.browser("accountant")
        for query, expected in (
            ("", ["****0001", "****0002", "****0003"]), ("?find=0002", ["****0002"]), ("?find=小芳", ["****0001"]),
            ("?find=1001", ["****0001", "****0002", "****0003"]), ("?find=%25", []), ("?find=_", []),
        ):  # fmt: skip
            shown = await browser.page(f"/property/residents{query}")
            assert [word for word in shown.words if word.startswith("****")] == expected, query
            assert shown.mistakes == []
        shown = await browser.page(ONE)
        assert "****0001" in shown.text
        assert "王*" in shown.text
        assert "小芳" not in shown.text
        assert CARDS[0] not in shown.text
        assert at.audit() == []

    tell(tmp_path, story)


def test_unmasking_shows_it_once_and_is_noted(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await named(at, 1, "王小芳")
        browser = await at.browser("accountant")
        shown = Page((await browser.send(f"{ONE}/reveal")).text)
        assert "王小芳" in shown.text
        assert CARDS[0] in shown.text
        assert "小芳" not in (await browser.page(ONE)).text
        assert at.audit() == [("the accountant", "resident_reveal", "1", "")]

    tell(tmp_path, story)


def test_a_top_up_is_looked_at_first_and_happens_once(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        asked = Page((await browser.send(f"{ONE}/top-up", amount="12.5", note="收据 7")).text)
        assert "20.00 元 → 32.50 元" in asked.text
        assert at.harness.balance_fen("wallet:1") == 2000
        fields = {name: hidden(asked, name) for name in ("amount", "note", "request_key", "confirmed")}
        for _ in range(2):
            assert (await browser.send(f"{ONE}/top-up", **fields)).status_code in (302, 303)
        assert at.harness.balance_fen("wallet:1") == 3250
        shown = await browser.page(ONE)
        assert "充值 +12.50 元 32.50 元 收据 7 撤销" in shown.text
        assert at.audit() == [("the accountant", "top_up", "12.50", "收据 7")]
        at.harness.check_books()

    tell(tmp_path, story)


def test_a_top_up_can_be_taken_back_once_within_a_day_while_the_money_is_there(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        await topped_up(browser, "10")
        undo = next(form["action"] for form in (await browser.page(ONE)).all("form") if "/undo/" in form["action"])
        assert (await browser.send(undo)).status_code == 303
        assert at.harness.balance_fen("wallet:1") == 2000
        again = await browser.send(undo)
        assert again.status_code == 409
        assert "不能撤销" in Page(again.text).text
        assert at.harness.balance_fen("wallet:1") == 2000
        assert (await browser.send(f"{ONE}/undo/1")).status_code == 409  # the first money was no top-up of these pages
        await topped_up(browser, "10")
        undo = next(form["action"] for form in (await browser.page(ONE)).all("form") if "/undo/" in form["action"])
        assert (await browser.send(undo.replace("residents/1", "residents/2"))).status_code == 409
        at.harness.clock.advance_ns(86_400 * NS)
        assert (await browser.send(undo)).status_code == 409 or (await browser.get(ONE)).status_code == 303
        assert at.harness.balance_fen("wallet:1") == 3000
        assert [action for _, action, _, _ in at.audit()] == ["top_up", "top_up_undo", "top_up"]
        at.harness.check_books()

    tell(tmp_path, story)


def test_money_that_is_spent_is_not_taken_back(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        await topped_up(browser, "10")
        await at.service.charges.start(1, "C5T4", FULL, "k1")
        await at.service.context.storage.write(
            lambda c: c.execute("UPDATE account SET balance_fen = 5 WHERE name = 'wallet:1'")
        )
        undo = next(form["action"] for form in (await browser.page(ONE)).all("form") if "/undo/" in form["action"])
        assert (await browser.send(undo)).status_code == 409
        assert at.harness.balance_fen("wallet:1") == 5

    tell(tmp_path, story)


@pytest.mark.parametrize("amount", ["", "0", "0.00", "-5", "1e3", "10000", "1.234", "ten", "1²", "12,5", "NaN"])
def test_an_amount_that_is_none_moves_nothing(tmp_path: Path, amount: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        for confirmed in ("", "true"):
            fields = {"amount": amount, "confirmed": confirmed, "request_key": "abcdefgh"}
            answer = await browser.send(f"{ONE}/top-up", **fields)
            assert answer.status_code == 400
            assert "金额不对" in Page(answer.text).text
        assert at.harness.balance_fen("wallet:1") == 2000
        assert at.audit() == []

    tell(tmp_path, story)


def test_a_blocked_card_is_signed_out_until_it_is_unblocked(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        token = await at.service.accounts.sign_in(CARDS[0], PIN, "here")
        assert (await browser.send(f"{ONE}/block", blocked="true")).status_code == 303
        with pytest.raises(Exception, match="signed_out"):
            await at.service.accounts.resident(token)
        with pytest.raises(Exception, match="card_blocked"):
            await at.service.accounts.sign_in(CARDS[0], PIN, "here")
        assert "已停用" in (await browser.page("/property/residents")).text
        assert (await browser.send(f"{ONE}/block", blocked="false")).status_code == 303
        await at.service.accounts.sign_in(CARDS[0], PIN, "here")
        assert [action for _, action, _, _ in at.audit()] == ["resident_block", "resident_unblock"]

    tell(tmp_path, story)


def test_a_new_pin_is_shown_once_and_is_the_only_one(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        shown = Page((await browser.send(f"{ONE}/pin")).text)
        pin = next(word for word in shown.words if re.fullmatch(r"\d{6}", word))
        await at.service.accounts.sign_in(CARDS[0], pin, "here")
        with pytest.raises(Exception, match="wrong_card_or_pin"):
            await at.service.accounts.sign_in(CARDS[0], PIN, "here")
        assert pin not in (await browser.page(ONE)).text
        assert at.audit() == [("the accountant", "resident_pin", "1", "")]

    tell(tmp_path, story)


def test_erasing_asks_first_wants_no_money_left_and_leaves_nobody(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await charge(at, 1, 3)
        await named(at, 1, "王小芳")
        browser = await at.browser()
        assert "永久" in Page((await browser.send(f"{ONE}/erase")).text).text
        refused = await browser.send(f"{ONE}/erase", confirmed="true")
        assert refused.status_code == 409
        assert "账户里还有余额" in Page(refused.text).text
        await at.service.context.storage.write(
            lambda c: c.execute("UPDATE account SET balance_fen = 0 WHERE name = 'wallet:1'")
        )
        assert (await browser.send(f"{ONE}/erase", confirmed="true")).headers["location"] == "/property/residents"
        assert (await browser.get(ONE)).status_code == 404
        assert "****0001" not in (await browser.page("/property/residents")).text
        assert (await browser.page("/property/usage/1")).text.count("居民 1") == 0
        assert at.audit() == [("the operator", "resident_erase", "1", "")]

    tell(tmp_path, story)


def test_nobody_is_erased_while_charging(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await at.service.charges.start(1, "C5T4", FULL, "k1")
        answer = await (await at.browser()).send(f"{ONE}/erase", confirmed="true")
        assert answer.status_code == 409
        assert "正在充电" in Page(answer.text).text

    tell(tmp_path, story)


GOOD = "卡号,姓名,余额\r\n20010001,王芳,20\r\n20010002,=1+1,5.50\r\n"


HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e =1+1"


def test_a_note_acts_on_nobody_else(tmp_path: Path) -> None:
    """Typed here it is cleaned; in a database of before it is shown as replaced signs."""

    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("accountant")
        await topped_up(browser, "１２．５", HOSTILE)
        shown = await browser.page(ONE)
        assert "\ufffd]0;x\ufffd\ufffd[2J =1+1" in shown.text
        assert "12.50" in shown.text
        assert at.audit()[-1][3] == "\ufffd]0;x\ufffd\ufffd[2J =1+1"
        database = Database(admin.database_path(at.harness.config))
        with database.transaction() as connection:
            connection.execute("UPDATE ledger_transaction SET note = ? WHERE note != ''", (HOSTILE,))
        database.close()
        answer = await browser.get(ONE)
        assert "\ufffd]0;x\ufffd\ufffd[2J\ufffd =1+1" in answer.text
        assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", answer.text) == []

    tell(tmp_path, story)


def as_text(content: bytes) -> list[list[str | None]]:
    """Cells of a spreadsheet, each of which is text: neither a number that loses digits nor a formula."""
    rows = list(openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows())
    assert {cell.data_type for row in rows for cell in row if cell.value is not None} == {"s"}
    return [[cell.value for cell in row] for row in rows]


def test_a_list_as_others_write_it_is_imported_wholly_and_no_pin_loses_a_digit(tmp_path: Path) -> None:
    """Names padded with wide and no-break blanks, leading zeros, nineteen digits, full-width digits."""

    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        content = (
            "card,name,phone,balance\n00012345,王\u3000芳,,20\n6222021234567890123,李\u00a0伟,,0\n"
            "１００２３３４４,欧阳娜娜\u3000,,5\n"
        )
        looked = await imported(browser, content.encode())
        assert looked.mistakes == []
        begun = await browser.send("/property/residents/import/begin", key=hidden(looked, "key"))
        async with asyncio.timeout(20):
            while not (shown := await browser.page(begun.headers["location"])).all("code"):
                await asyncio.sleep(0)
        pins = [word for word in shown.words if re.fullmatch(r"\d{6}", word)]
        file = await browser.get(begun.headers["location"] + "/pins")
        assert as_text(file.content) == [
            ["卡号", "姓名", "密码"],
            ["00012345", "王 芳", pins[0]],
            ["6222021234567890123", "李 伟", pins[1]],
            ["10023344", "欧阳娜娜", pins[2]],
        ]
        await at.service.accounts.sign_in("０００１２３４５", pins[0], "here")

    tell(tmp_path, story)


async def imported(browser: Browser, content: bytes, name: str = "residents.csv") -> Page:
    return Page((await browser.send("/property/residents/import", files={"file": (name, content, "text/csv")})).text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_file_is_looked_at_then_added_with_its_pins(tmp_path: Path, encoding: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        looked = await imported(browser, GOOD.encode(encoding))
        assert looked.mistakes == []
        assert "将新增 2 位居民，余额合计 25.50 元" in looked.text
        assert "****0001 王* — 20.00 元" in looked.text
        assert len((await browser.page("/property/residents")).all("a", **{"class": "row-link"})) == 3
        begun = await browser.send("/property/residents/import/begin", key=hidden(looked, "key"))
        async with asyncio.timeout(20):
            while not (shown := await browser.page(begun.headers["location"])).all("code"):
                await asyncio.sleep(0)
        pins = [word for word in shown.words if re.fullmatch(r"\d{6}", word)]
        assert "已导入 2 位居民" in shown.text
        await at.service.accounts.sign_in("20010001", pins[0], "here")
        file = await browser.get(begun.headers["location"] + "/pins")
        assert file.headers["content-disposition"] == 'attachment; filename="pins.xlsx"'
        assert as_text(file.content) == [
            ["卡号", "姓名", "密码"], ["20010001", "王芳", pins[0]], ["20010002", "=1+1", pins[1]],
        ]  # fmt: skip
        assert at.audit() == [("the operator", "residents_import", "2", "25.50")]
        at.harness.clock.advance_ns(900 * NS)
        assert (await browser.get(begun.headers["location"])).status_code == 409, "PINs do not stay"
        at.harness.check_books()

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("卡号,余额\n20010001,zwei", "第 2 行： 金额“zwei”不对"),
        ("卡号\n10010001", "第 2 行： 卡号 10010001 已经有了"),
        ("卡号\n20010001\n20010001", "第 3 行： 卡号 20010001 在文件里出现了两次"),
        ("卡号,密码\n20010001,12", "第 2 行： 密码不对"),
        ("卡号\n1", "第 2 行： 卡号“1”不对"),
        ("卡号,分组\n20010001,A B", "第 2 行： 分组“A B”不对"),
        ("卡号,生日\n20010001,1950", "不认识的列“生日”"),
        ("姓名\n王芳", "缺少列“卡号”"),
        ("卡号\n20010001,7", "格子比列多"),
        ("卡号\n", "列名下面没有内容"),
        ("卡号\n<script>alert(1)</script>", "卡号“<script>alert(1)</script>”不对"),
    ],
)
def test_a_file_with_mistakes_names_them_and_adds_nobody(tmp_path: Path, content: str, words: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        shown = await imported(browser, content.encode())
        assert words in shown.text
        assert shown.all("input", name="key") == []
        assert at.audit() == []

    tell(tmp_path, story)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        for content in (b"\xff\xfe\x00\x81", b""):
            answer = await browser.send("/property/residents/import", files={"file": ("x.csv", content, "text/csv")})
            assert answer.status_code == 400
        answer = await browser.send(
            "/property/residents/import", files={"file": ("x.csv", b"9" * 5_000_000, "text/csv")}
        )
        assert answer.status_code == 413
        assert (await browser.send("/property/residents/import/begin", key="made-up")).status_code == 409
        forged = await browser.client.post(
            "/property/residents/import",
            data={"form_key": "x" * 32},
            files={"file": ("x.csv", GOOD.encode(), "text/csv")},
        )
        assert forged.status_code == 403

    tell(tmp_path, story)


@pytest.mark.parametrize("role", ["accountant", "viewer"])
def test_what_a_role_may_not_do_is_refused(tmp_path: Path, role: Role) -> None:
    money = [f"{ONE}/reveal", f"{ONE}/top-up", f"{ONE}/undo/1", f"{ONE}/block", f"{ONE}/pin"]
    operators = [f"{ONE}/erase", "/property/residents/import", "/property/residents/import/begin"]

    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(role)
        for path in operators + (money if role == "viewer" else []):
            answer = await browser.send(path, amount="5", confirmed="true", blocked="true", key="abcdefgh")
            assert answer.status_code == 403, path
        for path in ["/property/residents/import", "/property/residents/import/x", "/property/residents/import/x/pins"]:
            assert (await browser.get(path)).status_code == 403
        if role == "viewer":
            assert (await browser.get(ONE)).status_code == 403
        assert at.audit() == []
        assert at.harness.balance_fen("wallet:1") == 2000

    tell(tmp_path, story)


def test_nobody_there_is_not_found(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        assert (await browser.get("/property/residents/99")).status_code == 404
        for path in ("reveal", "block", "pin", "undo/1"):
            assert (await browser.send(f"/property/residents/99/{path}")).status_code == 404

    tell(tmp_path, story)
