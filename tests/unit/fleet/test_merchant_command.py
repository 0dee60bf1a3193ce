"""`fleet merchant`: accounts are connected, listed and retired; a person decides what did not go by itself."""

import asyncio
import json

import pytest

from cabinet.errors import CabinetError
from cabinet_testing import fleet_scene as scene
from cabinet_testing.payment_bench import PaymentBench
from fleet.main import main
from fleet.money.payment_book import PaymentBook
from fleet.money.payment_table import PaymentStep, RefundStep
from fleet.money.secret_box import SecretBox, make_key, open_box
from fleet.store import audit, database, merchants
from fleet.store.audit import FleetAuditFilter


@pytest.fixture
def fleet(url, tmp_path, capsys):
    """Run `fleet merchant` for Green Court; return its status and output."""
    config = tmp_path / "fleet.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[web]\npublic_url = "http://127.0.0.1:8090"\n')

    async def build():
        async with await database.connect(url) as connection:
            await scene.add_company(connection, "Green Court")
            await scene.add_company(connection, "Blue Yard")

    asyncio.run(build())
    bench = PaymentBench()
    for name, account in bench.platforms.accounts().items():
        file = tmp_path / f"{name}.json"
        file.touch(0o600)
        file.write_text(json.dumps(account))

    def fleet(action, *words, company="Green Court"):
        status = main(["merchant", action, *words, "--company", company, "--config", str(config)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return fleet


async def _rows(url):
    async with await database.connect(url) as connection:
        return await merchants.everyone(connection)


def test_account_is_connected_sealed_and_replaced(fleet, url, tmp_path):
    for platform in ("wechat", "alipay"):
        status, said = fleet("add", str(tmp_path / f"{platform}.json"), "--platform", platform)
        assert (status, "account" in said) == (0, True), said
    assert (tmp_path / "trust" / "payments.key").stat().st_mode & 0o777 == 0o600
    before = asyncio.run(_rows(url))
    assert not [row for row in before if b"PRIVATE KEY" in row.secrets]
    fleet("add", str(tmp_path / "wechat.json"), "--platform", "wechat")
    after = asyncio.run(_rows(url))
    assert [row.id for row in after] == [row.id for row in before]
    _, said = fleet("list")
    assert "1900000109" in said
    assert said.count("in use") == 2
    assert fleet("retire", str(before[0].id))[0] == 0
    assert "retired" in fleet("list")[1]
    assert fleet("list", company="Blue Yard")[1] == ""

    async def actions():
        async with await database.connect(url) as connection:
            found = await audit.entries(connection, before[0].company_id, FleetAuditFilter())
            return [each.action for each in found]

    assert asyncio.run(actions()) == ["merchant_retired", "merchant_added", "merchant_added", "merchant_added"]


def test_merchant_of_one_company_is_refused_to_another(fleet, tmp_path):
    fleet("add", str(tmp_path / "wechat.json"), "--platform", "wechat")
    status, said = fleet("add", str(tmp_path / "wechat.json"), "--platform", "wechat", company="Blue Yard")
    assert status == 1
    assert said
    assert fleet("retire", "1", company="Blue Yard")[0] == 1
    assert "in use" in fleet("list")[1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda account: account["secrets"].pop("private_key"), "private_key"),
        (lambda account: account["secrets"].update(api_key="short"), "32 characters"),
        (lambda account: account["secrets"].update(private_key="-----BEGIN"), "cannot be read"),
        (lambda account: account.update(other=1), "other"),
        (lambda account: account["settings"].update(public_keys={"PUB": "x"}), "PUB"),
    ],
)
def test_file_that_cannot_be_used_is_refused_and_no_secret_of_it_is_shown(fleet, tmp_path, change, complaint):
    file = tmp_path / "wechat.json"
    account = json.loads(file.read_text())
    secrets = list(account["secrets"].values())
    change(account)
    file.write_text(json.dumps(account))
    status, said = fleet("add", str(file), "--platform", "wechat")
    assert (status, complaint in said) == (1, True), said
    assert not [secret for secret in secrets if secret in said]


def test_file_that_others_can_read_is_refused(fleet, tmp_path):
    file = tmp_path / "wechat.json"
    file.chmod(0o644)
    status, said = fleet("add", str(file), "--platform", "wechat")
    assert (status, "chmod 600" in said) == (1, True)


def test_failed_refund_is_listed_and_decided(fleet, url, tmp_path):
    fleet("add", str(tmp_path / "wechat.json"), "--platform", "wechat")

    async def failed():
        async with await database.connect(url) as connection:
            [row] = await merchants.everyone(connection)
            resident = await merchants.resident_of(connection, row.company_id, "wechat", row.app, "person-1")
            assert await merchants.resident_of(connection, row.company_id, "wechat", row.app, "person-1") == resident
            await connection.execute(
                "INSERT INTO payment (number, company_id, resident_id, account_id, request_key, purpose, way,"
                " amount_fen, state, expires) VALUES ('PAYMENT1', %s, %s, %s, 'k', 'wallet', 'in_app', 500, 'created',"
                " now())",
                (row.company_id, resident, row.id),
            )
            book = await PaymentBook.load(connection, ["PAYMENT1"])
            book.step("PAYMENT1", PaymentStep.PAY, paid=book.now)
            book.give_back("PAYMENT1", 500, "no_charge")
            book.refund_step("PAYMENT1R1", RefundStep.FAIL, problem="ABNORMAL")
            await book.write(connection)

    asyncio.run(failed())
    assert "5.00 yuan" in fleet("refunds")[1]
    assert fleet("refund", "PAYMENT1R1", "--by-hand", company="Blue Yard")[0] == 1
    assert fleet("refund", "PAYMENT1R1", "--by-hand")[0] == 0
    assert fleet("refunds")[1] == ""
    assert fleet("refund", "PAYMENT1R1", "--again")[0] == 1, "it was paid out"
    assert "no open difference" in fleet("differences")[1]
    assert fleet("close", "1", "--note", "x")[0] == 1


def test_sealed_secrets_open_for_their_account_and_with_their_key_only(tmp_path):
    make_key(tmp_path / "key")
    box = open_box(tmp_path / "key")
    sealed = box.seal(b"secret", "1:wechat:a:b")
    assert box.open(sealed, "1:wechat:a:b") == b"secret"
    for other, changed, account in (
        (box, sealed, "2:wechat:a:b"), (SecretBox(bytes(32)), sealed, "1:wechat:a:b"),
        (box, sealed[:-1] + bytes([sealed[-1] ^ 1]), "1:wechat:a:b"), (box, b"", "1:wechat:a:b"),
    ):  # fmt: skip
        with pytest.raises(CabinetError, match="another key"):
            other.open(changed, account)
    before = (tmp_path / "key").read_bytes()
    make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before, "a key is never replaced"
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(CabinetError, match="32 bytes"):
        open_box(tmp_path / "key")
