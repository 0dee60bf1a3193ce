"""Cabinet without a configuration: a console that can be found, and nothing that can be switched on."""

from pathlib import Path

import msgspec

from cabinet.config.check import load, parse
from cabinet.config.keys import Config
from cabinet.config.reference import example


def load_or_commission(path: Path) -> Config:
    """Return the configuration in `path`, or `uncommissioned` if there is no such file.

    Raises ConfigErrors if the file has mistakes: a mistake does not make the cabinet new.
    """
    return load(path) if path.exists() else uncommissioned()


def uncommissioned() -> Config:
    """Return the example configuration, named as a new cabinet. Its wiring is an example: drive no hardware by it."""
    config = parse(example())
    site = msgspec.structs.replace(
        config.site, name="新充电柜，尚未配置", name_en="New cabinet, not commissioned yet", site_id="NEW"
    )
    return msgspec.structs.replace(config, site=site)
