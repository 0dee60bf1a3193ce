"""A real PostgreSQL of its own for tests and benches: on a unix socket in a temporary folder, no port.

`initdb` and `postgres` refuse root, so they run as the user `postgres` then. A template database is migrated once; each
test gets a copy of it, which takes a tenth of a second.
"""

import asyncio
import contextlib
import grp
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from fleet.store import database

FOLDERS = [Path(f"/usr/lib/postgresql/{version}/bin") for version in range(25, 14, -1)]
TEMPLATE = "fleet_template"
START_TIMEOUT_S = 30.0

_TEST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}  # a test survives no power cut
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "max_wal_size": "256MB",
}


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL from 15 on; None if there is none."""
    return next((folder for folder in FOLDERS if (folder / "initdb").exists()), None)


def missing() -> str | None:
    """Return the reason if no server can be started here, else None."""
    if binaries() is None:
        return "PostgreSQL 15 or newer is not installed (apt-get install postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def owner() -> tuple[str, str]:
    """Return user and group of the server's files."""
    name = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    return name, grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name


class FleetPostgres:
    """One server. `safe` keeps fsync on, as in production: for kills and for rates."""

    def __init__(self, folder: Path, *, safe: bool = False, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = _SETTINGS | ({} if safe else _TEST_SETTINGS) | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        found = binaries()
        assert found is not None, missing()
        self._bin = found

    def create(self) -> None:
        """Create the server, and a migrated template of its databases."""
        self.create_empty()
        self._admin(f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(database.migrate(self.url(TEMPLATE)))

    def create_empty(self) -> None:
        """Create the files of the server, and start it."""
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", "fleet", "-A", "trust", "-E", "UTF8", "--locale=C",
            "--no-sync",
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        options = [item for name, value in self._settings.items() for item in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [*self._as_user(), str(self._bin / "postgres"), "-D", str(self.folder / "data"),
             "-k", str(self.folder), *options],
            stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"{error}\n{(self.folder / 'log').read_text()}") from None
                time.sleep(0.02)
            else:
                return

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server; with `kill`, as a power cut of its processes would (SIGKILL to all of them)."""
        if self._process is None:
            return
        if kill:
            pid = (self.folder / "data" / "postmaster.pid").read_text().split()[0]
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in (pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(each), signal.SIGKILL)
        else:
            self._process.send_signal(signal.SIGINT)  # fast: open transactions are rolled back
        self._process.wait(30)
        self._process = None

    def url(self, name: str) -> str:
        return f"postgresql://fleet@/{name}?host={self.folder}"

    def fresh(self) -> str:
        """Create an empty, migrated database; return its address."""
        name = f"fleet_{os.getpid()}_{next(self._names)}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        return self.url(name)

    def make(self, name: str) -> None:
        """Create a database without tables."""
        self._admin(f"CREATE DATABASE {name}")

    def empty(self) -> str:
        """Create a database without any table; return its address."""
        name = f"fleet_{os.getpid()}_{next(self._names)}"
        self._admin(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.partition("@/")[2].partition("?")[0]
        self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a program of PostgreSQL, run by the server's user."""
        return [*self._as_user(), str(self._bin / name), *arguments]

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            self.command(name, *arguments),
            capture_output=True, text=True, timeout=60, check=False, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _as_user() -> list[str]:
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        assert setpriv is not None
        return [setpriv, "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]


@contextlib.contextmanager
def server(*, safe: bool = False, settings: dict[str, str] | None = None) -> Iterator[FleetPostgres]:
    """Run a server for the block, in a folder that is removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-pg-"))  # a short path: a socket's name has 107 characters at most
    postgres = FleetPostgres(folder, safe=safe, settings=settings)
    try:
        postgres.create()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
