"""`cabinet sim`: run the simulated cabinet as a process, and control it: plug, unplug, faults."""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from cabinet import plain_text
from cabinet.clock import SystemClock
from cabinet.commands import options
from cabinet.config import load
from cabinet.config.keys import Config
from cabinet.errors import SimError
from cabinet.sim.catalogue import catalogue, make_load
from cabinet.sim.control import SimControl
from cabinet.sim.faults import FAULTS, Choice, Number, Word

EXAMPLES = """examples:
  cabinet sim serve                                  the simulated cabinet, until Ctrl-C
  cabinet sim plug 3 lead-acid-48v20ah --charge 40   plug a bike into outlet 3
  cabinet sim plug 4 replay:charge.csv --speed 10    a recorded charge, ten times as fast
  cabinet sim unplug 3
  cabinet sim fault 5 short --amps 60                a short at outlet 5
  cabinet sim fault 5 short --shape half --at-phase 90
  cabinet sim fault 2 nack --chip thermometer
  cabinet sim fault all mains_cut --seconds 2
  cabinet sim faults                                 everything that can go wrong, each with an example
  cabinet sim clear 5                                every fault of outlet 5 goes
  cabinet sim state                                  what is really so
"""

_STATE_COLUMNS = (
    "outlet", "load", "charge", "stage", "relay", "current", "power", "energy", "contacts", "faults",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
        sub = actions.add_parser(
            name, help=summary, description=summary, epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        options.add_config(sub)
        return sub

    serve = action("serve", "run the simulated cabinet", "example:\n  cabinet sim serve --config demo.toml")
    serve.add_argument(
        "--strict-gpio", action="store_true", help="outputs let go when the process that drives them dies"
    )
    serve.add_argument("--demo", action="store_true", help="no real-time priority")
    plug = action("plug", "plug a load into an outlet", _listing("loads", catalogue()))
    plug.add_argument("outlet", type=int, metavar="N", help="outlet")
    plug.add_argument("load", metavar="LOAD", help="such as demo, lithium-48v, resistor:500, replay:FILE.csv")
    plug.add_argument("--charge", type=float, metavar="PERCENT", help="state of charge to begin with (default: 40)")
    plug.add_argument("--speed", type=float, default=1.0, metavar="X", help="so many times as fast (default: 1)")
    unplug = action("unplug", "pull the plug of an outlet", "example:\n  cabinet sim unplug 3")
    unplug.add_argument("outlet", type=int, metavar="N", help="outlet")
    fault = action("fault", "let something go wrong", _fault_listing())
    fault.add_argument("outlet", type=_outlet_or_all, metavar="N", help="outlet, or all for the cabinet's own faults")
    fault.add_argument("kind", metavar="KIND", help="see the list below")
    for name, metavar in _parameters().items():
        fault.add_argument(f"--{name.replace('_', '-')}", dest=f"param_{name}", metavar=metavar)
    clear = action("clear", "remove the faults of an outlet, or all", "example:\n  cabinet sim clear 5")
    clear.add_argument("outlet", type=int, nargs="?", metavar="N", help="outlet (default: all)")
    state = action("state", "what is really so in the simulated cabinet", "example:\n  cabinet sim state --json")
    state.add_argument("--json", action="store_true", help="everything, with the journal, for programs")
    action("loads", "list what can be plugged in")
    action("faults", "list what can go wrong, with an example each")


def main(args: argparse.Namespace) -> int:
    if args.action == "loads":
        print(_table([("load", "what it is"), *catalogue()]))
        return 0
    if args.action == "faults":
        print(_table([("fault", "what it is", "example"), *_fault_examples()]))
        return 0
    config = load(args.config)
    if not config.simulated:
        raise SimError(f"{args.config}: hardware.bus is {config.hardware.bus}, not sim: there is nothing to simulate")
    if args.action == "serve":
        return _serve(config, args.strict_gpio, args.demo)
    with SimControl(Path(config.paths.run) / "sim-control.sock") as control:
        return _act(control, args)


def _act(control: SimControl, args: argparse.Namespace) -> int:
    match args.action:
        case "plug":
            name = _absolute(args.load)
            make_load(name, args.charge, args.speed)  # reports mistakes as text before the simulator is asked
            control.plug(args.outlet, name, args.charge, args.speed)
            print(f"outlet {args.outlet}: {args.load} plugged in")
        case "unplug":
            print(f"outlet {args.outlet}: {control.unplug(args.outlet)['load']} unplugged")
        case "fault":
            control.fault(args.outlet, args.kind, **_given(args))
            print(f"{'cabinet' if args.outlet is None else f'outlet {args.outlet}'}: {args.kind}")
        case "clear":
            control.clear(args.outlet)
            print("no faults" if args.outlet is None else f"outlet {args.outlet}: no faults")
        case _:
            state = control.state()
            if args.json:
                state["journal"] = control.journal()
                print(msgspec.json.format(plain_text.json_text(msgspec.json.encode(state))))
            else:
                print(_state_table(state))
    return 0


def _serve(config: Config, strict_gpio: bool, demo: bool) -> int:
    from cabinet.sim.build import build_world
    from cabinet.sim.server import SimServer, become_realtime, collect_rarely

    server = SimServer(build_world(config, SystemClock()), Path(config.paths.run), strict_gpio)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    collect_rarely()
    if not demo and not become_realtime():
        print("cabinet sim: no real-time scheduling here; times will be less exact", file=sys.stderr, flush=True)
    print(f"simulating {len(config.outlet)} outlets, sockets in {config.paths.run}; Ctrl-C ends it", flush=True)
    try:
        server.serve()
    finally:
        server.close()
    return 0


def _outlet_or_all(text: str) -> int | None:
    return None if text == "all" else int(text)


def _absolute(name: str) -> str:
    """Return the load's name with an absolute path of a recording: the simulator runs in another folder."""
    kind, _, path = name.partition(":")
    return f"replay:{Path(path).resolve()}" if kind == "replay" and path else name


def _parameters() -> dict[str, str]:
    """Return all parameters of all faults, with the placeholder of the value for the help."""
    names: dict[str, str] = {}
    for kind in FAULTS.values():
        for name, parameter in kind.params.items():
            names[name] = "|".join(parameter.options) if isinstance(parameter, Choice) else "VALUE"
    return names


def _given(args: argparse.Namespace) -> dict[str, float | str]:
    """Return the parameters on the command line. Raises SimError if a number is expected and a word is given."""
    given: dict[str, float | str] = {}
    for name, value in vars(args).items():
        if not name.startswith("param_") or value is None:
            continue
        parameter = name.removeprefix("param_")
        if any(isinstance(kind.params.get(parameter), Number) for kind in FAULTS.values()):
            try:
                given[parameter] = int(value, 16) if value.lower().startswith("0x") else float(value)
            except ValueError:
                raise SimError(f"--{parameter.replace('_', '-')} is a number, not {value!r}") from None
        else:
            given[parameter] = value
    return given


def _fault_examples() -> list[tuple[str, ...]]:
    return [(name, kind.what, f"cabinet sim fault {kind.example}") for name, kind in FAULTS.items()]


def _fault_listing() -> str:
    rows = []
    for name, kind in FAULTS.items():
        takes = []
        for parameter, limits in kind.params.items():
            option = f"--{parameter.replace('_', '-')}"
            if isinstance(limits, Choice):
                takes.append(f"{option} {'|'.join(limits.options)}: {limits.what}")
            elif isinstance(limits, Word):
                takes.append(f"{option} NAME: {limits.what} (default {limits.default})")
            else:
                default = "" if limits.default is None else f" (default {limits.default:g})"
                takes.append(f"{option} {limits.least:g}..{limits.most:g} {limits.what}{default}")
        rows.append((name, kind.what + (" (N is all)" if kind.cabinet else "")))
        rows += [("", f"  {line}") for line in takes]
        rows.append(("", f"  example: cabinet sim fault {kind.example}"))
    return _listing("faults", rows)


def _listing(title: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return f"{title}:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _state_table(state: dict[str, Any]) -> str:
    contactor = "closed" if state["contactor_closed"] else "open"
    if state["contactor_welded"]:
        contactor = "welded"
    supply = "on" if state["coil_supply"] else "off (no heartbeat)"
    head = (
        f"mains {state['mains_v']:g} V {state['frequency_hz']:g} Hz, contactor {contactor}, coil supply {supply}, "
        f"inside {state['inside_c']:.1f} °C"
    )
    opened = [name for name, contact in state["inputs"].items() if contact == "open"]
    if opened:
        head += f", alarm contacts open: {', '.join(opened)}"
    if state["siren"]:
        head += ", siren on"
    if state["faults"]:
        head += ", " + _faults(state["faults"])
    rows: list[tuple[str, ...]] = [_STATE_COLUMNS]
    rows += [_outlet_row(each) for each in state["outlets"]]
    return f"{head}\n{_table(rows)}"


def _outlet_row(each: dict[str, Any]) -> tuple[str, ...]:
    charge = each["charge_percent"]
    relay = "welded" if each["welded"] else "closed" if each["contacts_closed"] else "open"
    if not each["breaker_closed"]:
        relay += ", breaker open"
    return (
        str(each["outlet"]),
        Path(each["load"]).name if each["load"] else "-",
        "-" if charge is None else f"{charge:.1f} %",
        each["stage"] or "-",
        relay,
        f"{each['current_ma'] / 1000:.3f} A",
        f"{each['power_mw'] / 1000:.1f} W",
        f"{each['energy_uj'] / 3.6e9:.3f} Wh",
        f"{each['temperature_mc'] / 1000:.1f} °C",
        _faults(each["faults"]) or "-",
    )


def _faults(faults: dict[str, dict[str, Any]]) -> str:
    return "; ".join(
        kind + (f" ({', '.join(f'{name} {value}' for name, value in params.items())})" if params else "")
        for kind, params in faults.items()
    )
