"""Roles on the property company's pages, the logins, and the audit log."""

import operator
from pathlib import Path

import pytest

from cabinet.records import MAY, ROLES, Role
from cabinet.web.property.access import SECTIONS
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import PASSWORD, PropertyHarness, secrets_on, staff_id, tell


@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_for_the_roles_that_may_see_it_and_for_nobody_else(tmp_path: Path, role: Role) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(role)
        shown = await browser.page("/property")
        may = [section.path for section in SECTIONS if section.task in MAY[role]]
        links = {link["href"] for link in shown.all("a")}
        assert links & {section.path for section in SECTIONS} == set(may)
        for section in SECTIONS:
            answer = await browser.get(section.path)
            assert answer.status_code == (200 if section.path in may else 403), section
            if answer.status_code == 403:
                assert "您没有权限做这件事" in Page(answer.text).text

    tell(tmp_path, story)


def test_nobody_is_somebody_without_signing_in(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(None)
        for section in SECTIONS:
            answer = await browser.get(section.path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/property/sign-in")

    tell(tmp_path, story)


def test_signing_in_is_in_the_audit_log(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await at.browser("accountant")
        browser = await at.browser(None)
        answer = await browser.send("/property/sign-in", name="the accountant", password=PASSWORD)
        assert answer.status_code == 303
        shown = await browser.page("/property/audit?action=sign_in")
        assert "the accountant 财务 登录" in shown.text
        assert "没有符合条件的记录" in (await browser.page("/property/audit?action=staff_add&from=2026-01-01")).text

    tell(tmp_path, story)


def test_an_operator_adds_a_login_changes_its_role_and_takes_it_away(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        added = Page((await browser.send("/property/staff", name="前台", role="viewer")).text)
        (password,) = secrets_on(added)
        who = staff_id(at.harness, "前台")
        other = await at.browser(None)
        assert (await other.send("/property/sign-in", name="前台", password=password)).status_code == 303
        assert (await other.get("/property/audit")).status_code == 403
        assert (await browser.send(f"/property/staff/{who}/role", role="accountant")).status_code == 303
        assert (await other.get("/property/audit")).status_code == 200
        (new_password,) = secrets_on(Page((await browser.send(f"/property/staff/{who}/password")).text))
        assert (await other.get("/property")).status_code == 303  # signed out with the old one
        assert (await other.send("/property/sign-in", name="前台", password=new_password)).status_code == 303
        assert (await browser.send(f"/property/staff/{who}/remove")).status_code == 303
        assert (await other.get("/property")).status_code == 303
        assert at.audit() == [
            ("the operator", "staff_add", "前台", "viewer"),
            ("前台", "sign_in", "", ""),
            ("the operator", "staff_role", "前台", "viewer → accountant"),
            ("the operator", "staff_password", "前台", ""),
            ("前台", "sign_in", "", ""),
            ("the operator", "staff_remove", "前台", ""),
        ]

    tell(tmp_path, story)


def test_the_last_operator_stays_one(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        who = staff_id(at.harness, "the operator")
        for path, fields in (
            (f"/property/staff/{who}/remove", {}),
            (f"/property/staff/{who}/role", {"role": "viewer"}),
        ):
            answer = await browser.send(path, **fields)
            assert answer.status_code == 409
            assert "至少要留一个管理员账号" in Page(answer.text).text
        assert at.audit() == []

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": "", "role": "viewer"}, 400),
        ({"name": "n" * 41, "role": "viewer"}, 400),
        ({"name": "n" * 500, "role": "viewer"}, 400),
        ({"name": "the operator", "role": "viewer"}, 409),
        ({"name": "new", "role": "king"}, 400),
        ({"name": "new"}, 400),
    ],
)
def test_a_login_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        assert (await browser.send("/property/staff", **fields)).status_code == status
        assert at.audit() == []

    tell(tmp_path, story)


@pytest.mark.parametrize("role", ["accountant", "viewer"])
def test_only_operators_change_logins(tmp_path: Path, role: Role) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser(role)
        who = staff_id(at.harness, f"the {role}")
        for path, fields in (
            ("/property/staff", {"name": "new", "role": "operator"}),
            (f"/property/staff/{who}/role", {"role": "operator"}),
            (f"/property/staff/{who}/password", {}),
            (f"/property/staff/{who}/remove", {}),
        ):
            assert (await browser.send(path, **fields)).status_code == 403
        assert at.audit() == []

    tell(tmp_path, story)


@pytest.mark.parametrize("query", ["from=yesterday", "to=2026-13-01", "before=x", "resident=-1", "from=0001-01-01"])
def test_a_filter_that_makes_no_sense_is_refused(tmp_path: Path, query: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        assert (await browser.get(f"/property/audit?{query}")).status_code == 400

    tell(tmp_path, story)


def test_the_audit_log_goes_page_by_page(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        who = staff_id(at.harness, "the operator")
        await at.service.context.storage.write(
            lambda c: c.executemany(
                "INSERT INTO audit_entry (unix_ms, trusted, staff, role, address, action, subject)"
                " VALUES (?, 1, 'x', 'viewer', '::1', 'sign_in', ?)",
                [(number, f"entry-{number}.") for number in range(1, 121)],
            )
        )
        seen: list[str] = []
        path = "/property/audit"
        while path:
            shown = await browser.page(path)
            seen += [word for word in shown.words if word.startswith("entry-")]
            path = next((link["href"] for link in shown.all("a") if "before=" in link["href"]), "")
        assert seen == [f"entry-{number}." for number in range(120, 0, -1)]
        assert who

    tell(tmp_path, story)


def test_nobody_changes_or_deletes_an_audit_entry(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        await browser.send("/property/staff", name="new", role="viewer")
        for statement in ("UPDATE audit_entry SET staff = 'x'", "DELETE FROM audit_entry"):
            with pytest.raises(Exception, match="never"):
                await at.service.context.storage.write(operator.methodcaller("execute", statement))

    tell(tmp_path, story)
