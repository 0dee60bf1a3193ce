"""Run several `cabinet` commands in one process, which saves an emulated processor the imports: one JSON answer."""

import contextlib
import io
import json
import sys

from cabinet.main import main


def ran(command: str) -> dict[str, object]:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)  # exports write bytes
    status: object
    try:
        with contextlib.redirect_stdout(out):
            status = main(command.split())
    except SystemExit as ended:
        status = ended.code
    return {"status": status, "out": out.buffer.getvalue().decode()}


if __name__ == "__main__":
    print(json.dumps([ran(command) for command in sys.argv[1:]]))
