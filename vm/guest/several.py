"""Runs several `cabinet` commands in one process, which spares an emulated processor its imports: one JSON answer."""

import contextlib
import io
import json
import sys

from cabinet.main import main


def ran(command: str) -> dict[str, object]:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            status = main(command.split())
    except SystemExit as ended:
        status = ended.code
    return {"status": status, "out": out.getvalue()}


if __name__ == "__main__":
    print(json.dumps([ran(command) for command in sys.argv[1:]]))
