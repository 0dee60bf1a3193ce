"""The error family: one class for each kind of mistake, with the coordinates of the failure.

A protection that acts is not an error but a value (`cabinet.model.Trip`); no error is raised for it. Every message is
one line that gives the problem, its place and the remedy.
"""

import contextlib
import errno as errno_names
from collections.abc import Iterator


class CabinetError(Exception):
    """Base of every error this project raises on purpose. Anything else that escapes is a bug."""


@contextlib.contextmanager
def os_error_at(place: object, remedy: str = "") -> Iterator[None]:
    """Raise an OSError of the block as a CabinetError that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        raise CabinetError(f"{place}: {error.strerror}{remedy}") from error


class ConfigError(CabinetError):
    """A key of `cabinet.toml` is wrong; `key_path` is its place, such as `outlet[3].relay`."""

    def __init__(self, key_path: str, problem: str) -> None:
        super().__init__(f"{key_path}: {problem}")
        self.key_path = key_path
        self.problem = problem


class ConfigErrors(CabinetError):
    """All mistakes in one configuration file, one `ConfigError` a line."""

    def __init__(self, source: str, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(f"{source}: {error}" for error in errors))
        self.source = source
        self.errors = errors


class BusError(CabinetError):
    """A transfer on the I2C bus failed: the chip, its address and register, and the errno."""

    def __init__(self, chip: str, address: int, register: int | None, errno: int) -> None:
        name = errno_names.errorcode.get(errno, str(errno))
        where = f"{chip} at 0x{address:02x}" + ("" if register is None else f" register 0x{register:03x}")
        super().__init__(f"{where}: {name}")
        self.chip = chip
        self.address = address
        self.register = register
        self.errno = errno

    @property
    def absent(self) -> bool:
        """True if the chip did not answer (NACK); False if the bus itself is suspect."""
        return self.errno in (errno_names.EREMOTEIO, errno_names.ENXIO)


class ChipError(CabinetError):
    """A chip gave an unexpected answer: wrong identity, lost set-up, a read-back that differs."""

    def __init__(self, chip: str, where: str, problem: str) -> None:
        super().__init__(f"{chip} at {where}: {problem}")
        self.chip = chip
        self.where = where
        self.problem = problem


class ChipReset(ChipError):
    """The chip's settings were lost, as after a reset: set it up again before its readings are used."""


class HardwareError(CabinetError):
    """A bus, pin factory or line named in the configuration is not available."""


class LinkError(CabinetError):
    """The guard's socket is gone or sent a frame that violates the protocol."""


class SimError(CabinetError):
    """The simulator refused a command: unknown outlet, load or fault."""


class StoreError(CabinetError):
    """The database is missing, damaged or of a newer version."""


class StorageFull(StoreError):
    """The disk is full; nothing of the transaction is kept."""


class StoreDamaged(StoreError):
    """The database file is no longer a database, or is incomplete."""


class Refused(CabinetError):
    """A request of a person or program is not possible now; translated at the edge.

    `code` is one of the codes in `cabinet.model.REFUSALS`; `params` are the numbers its text needs.
    """

    def __init__(self, code: str, **params: int | str) -> None:
        super().__init__(code + "".join(f" {key}={value}" for key, value in params.items()))
        self.code = code
        self.params = params
