"""`cabinet` as on a computer that has no configuration yet, with its folders where NEW_CABINET says.

python -m cabinet_testing.new_cabinet steward --commissioning --config FILE
"""

import os
import sys

import msgspec

from cabinet.config import commissioning
from cabinet.config.keys import Config, PathsSection
from cabinet.main import main

system = commissioning.uncommissioned


def uncommissioned() -> Config:
    folder = os.environ["NEW_CABINET"]
    return msgspec.structs.replace(system(), paths=PathsSection(state=f"{folder}/state", run=f"{folder}/run"))


if __name__ == "__main__":
    commissioning.uncommissioned = uncommissioned
    sys.exit(main(sys.argv[1:]))
