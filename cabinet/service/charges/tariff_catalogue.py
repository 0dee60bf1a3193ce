"""Tariff catalogue: read from the tariff files, and again if one of them has changed."""

import logging

from cabinet.billing import tariff_files
from cabinet.billing.posted import PostedTariff, choose
from cabinet.billing.tariff import Tariff
from cabinet.clock import WallTime
from cabinet.config.keys import Config
from cabinet.service.charges.pricing import SiteTime

log = logging.getLogger(__name__)

Stamp = list[tuple[str, int, int]]  # name, time of last change in ns, size


class TariffCatalogue:
    """The posted tariffs. A file with mistakes is not used; `mistakes` has one line per mistake.

    `newest_day` is the latest day that the records prove: if the clock starts before it, as a clock without a battery
    does, old prices do not return.
    """

    def __init__(self, config: Config, site_time: SiteTime) -> None:
        self._config = config
        self._site_time = site_time
        self._stamp: Stamp | None = None
        self._posted: list[PostedTariff] = [tariff_files.base(config)]
        self.mistakes: list[str] = []
        self.newest_day = 0

    def refresh(self) -> bool:
        """Read the files again if one is new, gone or changed; return True if so."""
        stamp = self._file_stamps()
        if stamp == self._stamp:
            return False
        self._posted, errors = tariff_files.load_all(self._config)
        self._stamp, self.mistakes = stamp, [line for error in errors for line in str(error).splitlines()]
        for line in self.mistakes:
            log.error("this tariff file is not used: %s", line)
        if len(self._posted) > 1:
            log.info("tariffs: %s", ", ".join(each.tariff.version for each in self._posted))
        return True

    def _file_stamps(self) -> Stamp:
        found = []
        for path in sorted(tariff_files.folder(self._config).glob("*.toml")):
            try:
                state = path.stat()
            except OSError:
                continue  # removed after the listing
            found.append((path.name, state.st_mtime_ns, state.st_size))
        return found

    def in_force(self, outlet: int, group: str, wall: WallTime) -> Tariff:
        """Return the tariff for a charge that begins now."""
        return choose(self._posted, outlet, group, max(self._site_time.day_number(wall), self.newest_day))
