"""A database that is damaged: said plainly, nothing begun, and charging again once a backup is in its place."""

import sqlite3
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.errors import Refused, StoreDamaged
from cabinet.link import service_status
from cabinet.main import main
from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet.store import backup
from cabinet_testing.service_harness import FULL, ServiceHarness
from cabinet_testing.usage_records import damage


async def test_service_with_a_damaged_file_starts_and_says_so(harness: ServiceHarness) -> None:
    Path(harness.config.paths.run).mkdir(parents=True)
    damage(admin.database_path(harness.config), 0)
    async with harness.running() as service:
        assert service.charges.accepting() == "storage_damaged"
        word = service_status.start_refusal(
            service_status.path_in(Path(harness.config.paths.run)), harness.clock.monotonic_ns()
        )
        assert word == "storage_damaged", "which the console reads"
        assert (await service.charges.outlet("C5T4")).refusal == "storage_damaged"
        with pytest.raises(StoreDamaged):
            await service.charges.start(1, "C5T4", FULL, "k")
        await service.checkpoint()


async def test_charge_of_a_damaged_file_goes_on_in_the_guard(harness: ServiceHarness) -> None:
    """Its data in the file cannot be read: the guard ends it by its own limits, and no command opens its outlet."""
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k")
    damage(admin.database_path(harness.config), 0)
    async with harness.running() as service:
        harness.clock.advance_ns(60 * NS)
        await harness.guard.tell()
        await service.checkpoint()
    assert harness.guard.outlets[3].session_id is not None


class Failing(sqlite3.Connection):
    """Finds a page damaged once it is told to."""

    damaged = False

    def execute(self, *args):
        if Failing.damaged and not str(args[0]).startswith(("PRAGMA", "ROLLBACK")):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return super().execute("SELECT 0") if args[0] == "PRAGMA synchronous = FULL" else super().execute(*args)


async def test_damage_found_while_charging_begins_nothing_more_and_loses_nothing(harness: ServiceHarness) -> None:
    harness.connection_class = Failing
    Failing.damaged = False
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        await harness.charge(service, 3, 600)
        await service.context.storage.back_up(harness.clock.wall())
        Failing.damaged = True
        await harness.charge(service, 3, 600)
        assert service.charges.accepting() == "storage_damaged"
        with pytest.raises(Refused, match="storage_damaged"):
            await service.charges.start(2, "A7K2", FULL, "k2")
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        assert harness.guard.events.kept, "what is not written is not acknowledged"
    path = admin.database_path(harness.config)
    newest = backup.newest(path)
    assert newest is not None
    backup.restore(path, newest, harness.clock.wall())
    Failing.damaged = False
    async with harness.running() as service:
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
        assert (receipt.state, receipt.end_reason) == ("settled", EndReason.FULL)
        delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
        assert receipt.energy_mwh == delivered_mwh, "the guard had kept its end, and told it again"
        again = await service.charges.start(2, "A7K2", FULL, "k3")
        assert again.order_number == f"{harness.config.site.site_id}-{1 + backup.NUMBERS_LEFT_OUT + 1:08}"
    harness.check_books()


@pytest.fixture
def cabinet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from importlib import resources

    ServiceHarness(tmp_path)
    config = tmp_path / "cabinet.toml"
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    config.write_text(text + f'\n[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n', encoding="utf-8")

    def run(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(["store", *words, "--config", str(config)]) == status
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


def test_commands_from_check_to_restore(cabinet, tmp_path: Path) -> None:
    database = tmp_path / "state" / "cabinet.db"
    assert cabinet("list") == f"no backups in {tmp_path}/state/backups\n"
    assert cabinet("check") == f"OK: {database}: pages, references, ledger and usage log are whole\n"
    made = cabinet("backup").strip()
    assert cabinet("list").startswith(f"{made}  ")
    damage(database, 0)
    assert "is not a database" in cabinet("check", status=1)
    said = cabinet("restore", "newest")
    assert said.startswith(f"{database} is {Path(made).name} again: 0 charges, usage log up to 0\n")
    assert cabinet("check").startswith("OK")


def test_restore_waits_for_the_service_to_be_stopped(cabinet, tmp_path: Path) -> None:
    cabinet("backup")
    with backup.exclusive_lock(tmp_path / "state" / "cabinet.db"):
        said = cabinet("restore", "newest", status=1)
    assert said == f"{tmp_path}/state/cabinet.db: the service is running with it: stop that first\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("restore", "newest"), "there is no backup newest; see cabinet store list"),
        (("restore", "/nowhere.db"), "there is no backup /nowhere.db; see cabinet store list"),
    ],
)
def test_what_is_not_there_is_one_line(cabinet, words, said) -> None:
    assert cabinet(*words, status=1) == f"{said}\n"


def test_backup_goes_where_it_is_told_and_over_nothing(cabinet, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    assert cabinet("backup", "--to", str(target)) == f"{target}\n"
    assert backup.problems(target) == []
    assert cabinet("backup", "--to", str(target), status=1) == f"{target} is there already: it would be overwritten\n"


def test_copy_of_before_an_update_is_listed_and_is_never_the_newest(cabinet, tmp_path: Path) -> None:
    before = f"{tmp_path}/state/backups/before-update.db"
    assert cabinet("backup", "--before-update") == f"{before}\n"
    assert cabinet("list").startswith(f"{before}  ")
    assert cabinet("restore", "newest", status=1) == "there is no backup newest; see cabinet store list\n"
    assert cabinet("restore", before).startswith(f"{tmp_path}/state/cabinet.db is before-update.db again")
