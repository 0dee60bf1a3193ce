"""`cabinet.toml`: every key declared once (`keys`), read and checked as a whole (`check`)."""

from cabinet.config.check import load as load
from cabinet.config.check import parse as parse
from cabinet.config.keys import Config as Config
