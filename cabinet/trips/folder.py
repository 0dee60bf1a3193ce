"""The folder of recordings, `trips/` in the state folder: one file each, numbered without gaps."""

import re
from pathlib import Path

from cabinet.trips.format import Recording, TripFileError, decode

FOLDER = "trips"
_NAME = re.compile(r"^(\d{6,})\.trip$")


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.trip"


def numbers(folder: Path) -> list[int]:
    """Return the numbers of all recordings there, ascending; none if the folder does not exist. Raises OSError."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for name in names if (found := _NAME.match(name)) is not None)


def load(folder: Path, number: int) -> Recording:
    """Load a recording. Raises TripFileError if it is missing, not readable or damaged."""
    path = path_of(folder, number)
    try:
        return decode(path.read_bytes())
    except FileNotFoundError as error:
        raise TripFileError(f"{path}: there is no such recording; see: cabinet trips list") from error
    except OSError as error:
        raise TripFileError(f"{path}: cannot be read ({error.strerror})") from error
    except TripFileError as error:
        raise TripFileError(f"{path}: {error}") from error
