"""The error family: one class a kind of mistake, each with the coordinates of what went wrong.

A protection that acts is not an error but a value (`cabinet.model.Trip`); nothing here is raised for it.
Every message is one line that says what, where, and what to do.
"""

import errno as errno_names


class CabinetError(Exception):
    """Base of every error this project raises on purpose. Anything else that escapes is a bug."""


class ConfigError(CabinetError):
    """A key of `cabinet.toml` is wrong; `key_path` is where, such as `outlet[3].relay`."""

    def __init__(self, key_path: str, problem: str) -> None:
        super().__init__(f"{key_path}: {problem}")
        self.key_path = key_path
        self.problem = problem


class ConfigErrors(CabinetError):
    """Everything that is wrong with one configuration file, one `ConfigError` a line."""

    def __init__(self, source: str, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(f"{source}: {error}" for error in errors))
        self.source = source
        self.errors = errors


class BusError(CabinetError):
    """A transfer on the I2C bus failed: which chip, its address and register, and the errno."""

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
        """True where the chip did not answer (NACK); False where the bus itself is suspect."""
        return self.errno in (errno_names.EREMOTEIO, errno_names.ENXIO)


class ChipError(CabinetError):
    """A chip answered, but not as itself: wrong identity, lost set-up, a read-back that differs."""

    def __init__(self, chip: str, where: str, problem: str) -> None:
        super().__init__(f"{chip} at {where}: {problem}")
        self.chip = chip
        self.where = where
        self.problem = problem


class ChipReset(ChipError):
    """The chip has other settings than it was given, as after a reset: set it up again before it is believed."""


class HardwareError(CabinetError):
    """A bus, pin factory or line named in the configuration cannot be had."""


class LinkError(CabinetError):
    """The guard's socket is gone or spoke a frame that is not of the protocol."""


class SimError(CabinetError):
    """The simulator refused a command: unknown outlet, load or fault."""


class StoreError(CabinetError):
    """The database is missing, damaged or of a newer version."""


class StorageFull(StoreError):
    """The disk took no more; nothing of the transaction that met it is kept."""


class StoreDamaged(StoreError):
    """What is in the database's file is no database any more, or not a whole one."""


class Refused(CabinetError):
    """A person or program asked for something that cannot be now; translated at the edge.

    `code` is one of the codes in `cabinet.model.REFUSALS`; `params` are the numbers its text needs.
    """

    def __init__(self, code: str, **params: int | str) -> None:
        super().__init__(code + "".join(f" {key}={value}" for key, value in params.items()))
        self.code = code
        self.params = params
