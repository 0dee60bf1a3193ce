"""Facts about the computer on which a bundle would be installed; `trial.objections` judges them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cabinet.errors import CabinetError, os_error_at
from cabinet.system.update import bundle, trial
from cabinet.system.update.computer import Computer
from cabinet.system.update.records import UpdateFolder

KEYS = Path("/etc/cabinet/update-keys")

Age = Literal["newer", "same", "older"]


def collect_facts(system: Computer, records: UpdateFolder, changed_files: Sequence[str]) -> trial.ComputerFacts:
    """Return the facts, with the given result of `Computer.comparing`; those on a bundle and on charges stay open.

    Takes less than a second and changes nothing. Raises CabinetError.
    """
    under_way = records.load()
    folder = records.folder if records.folder.exists() else records.folder.parent
    with os_error_at(folder):
        free = shutil.disk_usage(folder).free
    return trial.ComputerFacts(
        architecture=system.architecture(),
        python=system.python(),
        version=system.version(),
        free=free,
        installed=system.installed_bytes(),
        changed_files=changed_files,
        on_trial=under_way.new if under_way is not None else None,
        switched_off=system.switched_off(),
    )


def trusted_keys(keys: Path = KEYS) -> bundle.Keys:
    """Return the keys that may sign bundles for this cabinet. Raises CabinetError."""
    try:
        return bundle.keys_in(keys.read_text(encoding="utf-8"), str(keys))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise CabinetError(f"{keys}: {why}: it says who may update this cabinet") from error


def age(system: Computer, version: str, here: str) -> Age:
    """Compare `version` with `here` in the order of dpkg."""
    if system.is_newer(version, here):
        return "newer"
    return "older" if system.is_newer(here, version) else "same"
