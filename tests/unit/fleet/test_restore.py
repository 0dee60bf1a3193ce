"""Backup and point-in-time restore of the fleet's database, as docs/fleet.md describes them."""

import datetime
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from cabinet_testing import fleet_postgres
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.fleet_site import temporary_folder

pytestmark = pytest.mark.slow


@pytest.mark.skipif(fleet_postgres.missing() is not None, reason=str(fleet_postgres.missing()))
def test_database_is_restored_to_any_moment_since_its_backup():
    with temporary_folder() as folder:
        archive, first, second = (folder / name for name in ("archive", "first", "second"))
        for each in (archive, first, second):
            each.mkdir()
            shutil.chown(each, *fleet_postgres.owner())
        archiving = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "wal_level": "replica"}
        server = FleetPostgres(first, safe=True, settings=archiving)
        server.create_empty()
        try:
            server.make("fleet")
            moment = _write_and_back_up(server, second)
        finally:
            server.stop()
        (second / "data" / "recovery.signal").touch()
        shutil.chown(second / "data" / "recovery.signal", *fleet_postgres.owner())
        restoring = {"restore_command": f"cp {archive}/%f %p", "recovery_target_time": moment.isoformat(),
                     "recovery_target_action": "promote"}  # fmt: skip
        restored = FleetPostgres(second, safe=True, settings=restoring)
        restored.start()
        try:
            with psycopg.connect(restored.url("fleet")) as connection:
                kept = [row[0] for row in connection.execute("SELECT what FROM note ORDER BY what").fetchall()]
        finally:
            restored.stop()
    assert kept == ["after the backup", "before the backup"]


def _write_and_back_up(server: FleetPostgres, folder: Path) -> datetime.datetime:
    """Write rows before and after a base backup and after a moment; return the moment."""
    with psycopg.connect(server.url("fleet"), autocommit=True) as connection:
        connection.execute("CREATE TABLE note (what TEXT)")
        connection.execute("INSERT INTO note VALUES ('before the backup')")
        command = server.command("pg_basebackup", "-h", str(server.folder), "-U", "fleet", "-D", str(folder / "data"))
        subprocess.run([*command, "--checkpoint=fast"], check=True, capture_output=True, timeout=60, cwd=folder)
        connection.execute("INSERT INTO note VALUES ('after the backup')")
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        connection.execute("INSERT INTO note VALUES ('by mistake')")
        connection.execute("SELECT pg_switch_wal()")
    moment = row[0]
    assert isinstance(moment, datetime.datetime)
    return moment
