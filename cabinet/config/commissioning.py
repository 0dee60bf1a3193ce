"""The cabinet before it has a configuration: a console to be found by, and nothing that could be switched on."""

from pathlib import Path

import msgspec

from cabinet.config.check import load, parse
from cabinet.config.keys import Config
from cabinet.config.reference import example


def load_or_commission(path: Path) -> Config:
    """The configuration in `path`, or `uncommissioned` where there is no such file.

    Raises ConfigErrors for a wrong one: a mistake in it does not make the cabinet new.
    """
    return load(path) if path.exists() else uncommissioned()


def uncommissioned() -> Config:
    """The example cabinet's by its wiring, so only for who never drives it: the console, which says what it is."""
    config = parse(example())
    site = msgspec.structs.replace(
        config.site, name="新充电柜，尚未配置", name_en="New cabinet, not commissioned yet", site_id="NEW"
    )
    return msgspec.structs.replace(config, site=site)
