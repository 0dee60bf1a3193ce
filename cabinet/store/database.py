"""SQLite database: open the file, migrate it to the present schema, read and write it.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. Any number of processes may read, one
writes at a time and the others wait. All SQL of the program runs inside `transaction()` or on a read-only connection.
"""

import contextlib
import errno
import functools
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from cabinet.errors import StorageFull, StoreDamaged, StoreError
from cabinet.store import file_owner

# Length at which the write-ahead log restarts. While it grows, every write costs the file system's journal several
# blocks; after that it is overwritten in place. Few pages change repeatedly, which makes the checkpoint cheap.
LOG_PAGES = 200
BUSY_TIMEOUT_MS = 5000

# Primary result codes that mean "no room, or nothing can be written now": sqlite.org/rescode.html
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})
# Result codes if the account may not write the file, or not even read it.
_MAY_BE_OF_OTHERS = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """One connection. It may pass from thread to thread; one thread at a time uses it."""

    def __init__(
        self, path: Path, *, read_only: bool = False, connection_class: type[sqlite3.Connection] = sqlite3.Connection
    ) -> None:
        """Open `path`; create and migrate it unless `read_only`.

        Raises StoreError if the file cannot be opened, is not a database, was made by a newer program, or belongs to
        another account; StorageFull if there is no room to migrate it.
        """
        self.path = path
        if not read_only:
            file_owner.check_account(path)
            if problem := file_owner.permission_problem(
                path
            ):  # SQLite would open it anyway, and fail at the first write
                raise StoreError(problem)
        with translated(path):
            if not read_only and path.parent.is_dir() and not path.exists():
                path.touch(0o600)  # it holds hashes of short PINs; SQLite's own files get the same mode
            self.connection = sqlite3.connect(
                f"file:{_quoted(path)}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,  # only `transaction` begins and ends transactions
                check_same_thread=False,
                factory=connection_class,
            )
        try:
            self._prepare(read_only)
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self, read_only: bool) -> None:
        self.connection.row_factory = sqlite3.Row
        with translated(self.path):
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self.connection.execute("PRAGMA foreign_keys = ON")
            if not read_only:
                self.connection.execute("PRAGMA journal_mode = WAL")
                self.connection.execute("PRAGMA synchronous = FULL")
                self.connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        if read_only:
            check_version(self)
        else:
            migrate(self)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the whole block or nothing. Not nested: a second one inside is a bug (StoreError).

        Raises StorageFull if the disk is full, StoreError for any other SQLite error; an error of the block itself
        propagates unchanged. After any of them, no part of the block is in the file.
        """
        with translated(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """Roll back, unless SQLite has already done it, as after some errors such as a full disk."""
        with contextlib.suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for reading; the whole block reads one state of the file. Raises StoreError."""
        with translated(self.path):
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                self._roll_back()

    def close(self) -> None:
        self.connection.close()


@functools.cache
def steps() -> list[tuple[int, str, str]]:
    """Return the migrations in order: version, file name, SQL."""
    folder = resources.files("cabinet.store.migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files]


def migrate(database: Database, known: list[tuple[int, str, str]] | None = None) -> int:
    """Apply the missing migrations, each in one transaction with its record; return the version reached.

    A migration may replace a table that others refer to: all references are checked at its end. A second process
    that opens the file meanwhile waits and finds it migrated. Raises StoreError if the schema is newer.
    """
    known = steps() if known is None else known
    with database.transaction() as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT"
        )
    database.connection.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
    for version, name, sql in known:
        with database.transaction() as connection:
            if _version(database) >= version:
                continue
            for statement in statements(sql):
                connection.execute(statement)
            if dangling := connection.execute("PRAGMA foreign_key_check").fetchall():
                raise StoreError(f"{database.path}: {name} leaves {len(dangling)} references to nothing")
            connection.execute("INSERT INTO schema_migration (version, name) VALUES (?, ?)", (version, name))
    database.connection.execute("PRAGMA foreign_keys = ON")
    return check_version(database, known)


def check_version(database: Database, known: list[tuple[int, str, str]] | None = None) -> int:
    """Return the schema version. Raises StoreError unless it is exactly the newest version of this program."""
    newest = max(version for version, _, _ in (steps() if known is None else known))
    with translated(database.path):
        found = _version(database)
    if found > newest:
        raise StoreError(
            f"{database.path}: made by a newer program (schema {found}, this one knows {newest}): install that one"
        )
    if found < newest:
        raise StoreError(f"{database.path}: schema {found} is older than {newest}: start `cabinet serve` once")
    return found


def _version(database: Database) -> int:
    row = database.connection.execute("SELECT max(version) FROM schema_migration").fetchone()
    return int(row[0] or 0)


def statements(sql: str) -> Iterator[str]:
    """Yield the statements of a script one by one: `executescript` would commit the open transaction."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        if not pending and (not line.strip() or line.lstrip().startswith("--")):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        raise StoreError(f"a migration ends inside a statement: {pending.strip()[:60]}")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate errors of SQLite and the disk to StorageFull, StoreDamaged or StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _MAY_BE_OF_OTHERS and (problem := file_owner.permission_problem(path)):
            raise StoreError(problem) from error
        if code is not None and code & 0xFF in _NO_ROOM:
            raise StorageFull(f"{path}: {error}: free some space on its disk") from error
        if code is not None and code & 0xFF in _DAMAGED:
            raise StoreDamaged(f"{path}: {error}: put a backup in its place with `cabinet store restore`") from error
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StorageFull(f"{path}: {error.strerror}: free some space on its disk") from error
        if error.errno in _FORBIDDEN and os.path.exists(path) and (problem := file_owner.permission_problem(path)):
            raise StoreError(problem) from error
        where = error.filename if isinstance(error.filename, str) else path
        raise StoreError(f"{where}: {error.strerror}") from error


def _quoted(path: Path) -> str:
    """Quote `path` for a file: URI, in which % ? and # are special."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
