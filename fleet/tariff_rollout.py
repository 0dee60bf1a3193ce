"""Roll-out of a tariff: the wanted tariffs of each cabinet beside those it reports, and who has it."""

import functools
from collections.abc import Sequence

import msgspec

from cabinet.billing import tariff_files
from cabinet.billing.posted import PostedTariff, clashes
from cabinet.errors import CabinetError, ConfigErrors
from fleet.store import desired
from fleet.store.database import Connection
from fleet.store.desired import DesiredRow


class TariffClash(CabinetError):
    """A tariff that a cabinet has could apply to the same charge as the new one."""


class TariffSpread(msgspec.Struct, frozen=True):
    """Cabinets by their state of one version. `refused` has the reasons."""

    in_force: list[str]
    coming: list[str]
    refused: list[tuple[str, str]]
    leaving: list[str]  # have it still, and should not any more


@functools.lru_cache(256)
def loaded(text: str) -> PostedTariff:
    """Load and check a tariff file's text. Raises ConfigErrors with every mistake."""
    return tariff_files.load_text(text, "tariff")


async def roll_out(connection: Connection, company_id: int, cabinets: Sequence[str], text: str, *, only: bool) -> str:
    """Set the tariff for these cabinets, in place of all others or beside them; return its version.

    A version that a cabinet has already is replaced. Runs in the caller's transaction. Raises ConfigErrors and
    TariffClash; Refused name_taken if the version has another text.
    """
    version = loaded(text).tariff.version
    await desired.add_tariff(connection, company_id, version, text)
    for cabinet in cabinets:
        row = await desired.get(connection, company_id, cabinet, "tariffs")
        texts = [] if row is None or only else [each for each in files_of(row.value) if _version(each) != version]
        posted = [loaded(each) for each in (*texts, text)]
        for one, other, why in clashes(posted):
            raise TariffClash(f"{cabinet}: {one.tariff.version}, {other.tariff.version}: {why}")
        await desired.set_value(connection, company_id, cabinet, "tariffs", [{"file": each} for each in (*texts, text)])
    return version


def files_of(value: object) -> list[str]:
    """Return the texts of a desired value of tariffs."""
    return [str(each["file"]) for each in value] if isinstance(value, list) else []


def spread(rows: Sequence[DesiredRow], text: str) -> TariffSpread:
    """Return who of the cabinets has the tariff with this text, and who not yet."""
    found = TariffSpread([], [], [], [])
    for row in rows:
        wanted, present = text in files_of(row.value), text in files_of(row.applied_value)
        if present:
            (found.in_force if wanted else found.leaving).append(row.cabinet)
        elif wanted and row.rejected:
            found.refused.append((row.cabinet, row.rejected))
        elif wanted:
            found.coming.append(row.cabinet)
    return found


def _version(text: str) -> str:
    try:
        return loaded(text).tariff.version
    except ConfigErrors:
        return ""
