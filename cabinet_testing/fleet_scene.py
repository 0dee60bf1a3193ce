"""A company with cabinets, residents, a tariff and money in the fleet's database, for tests and benches."""

import itertools
from collections.abc import Sequence

import msgspec
from psycopg.types.json import Jsonb

from cabinet.clock import WallTime
from cabinet.uplink.messages import OutletReport, StateReport
from fleet.config import FleetConfig, parse
from fleet.store import cabinets, companies, desired, outlet_codes, residents, wallets
from fleet.store.database import Connection

TARIFF = """version = "2026-11"
valid_from = 2020-01-01
service_fen_per_kwh = 0
start_fee_fen = 0
minimum_fen = 0

[[time_bands]]
from_w = 0
fen_per_hour = 60

[[energy_periods]]
start = "00:00"
end = "24:00"
electricity_fen_per_kwh = 60.0
"""

_numbers = itertools.count(1)


def config(url: str = "postgresql:///fleet") -> FleetConfig:
    return parse(f'[database]\nurl = "{url}"\n[web]\npublic_url = "http://127.0.0.1:8090"\n')


class FleetScene(msgspec.Struct, frozen=True):
    """A company with one site."""

    company_id: int
    site_id: int


async def add_company(connection: Connection, name: str = "") -> FleetScene:
    company_id = await companies.add(connection, name or f"Company {next(_numbers)}")
    return FleetScene(company_id, await companies.add_site(connection, company_id, "East gate"))


async def add_cabinet(
    connection: Connection, scene: FleetScene, cabinet: str, *, outlets: int = 10, tariff: str = TARIFF
) -> None:
    """Add a cabinet that is online and free, with its tariff in force; outlet 3 of c-one has the code C-ONE-3."""
    await cabinets.add(connection, scene.company_id, scene.site_id, cabinet, cabinet)
    for number in range(1, outlets + 1):
        await connection.execute(
            "INSERT INTO outlet (cabinet, number, code) VALUES (%s, %s, %s)",
            (cabinet, number, code_of(cabinet, number)),
        )
    codes = [code_of(cabinet, number) for number in range(1, outlets + 1)]
    await outlet_codes.give(connection, scene.company_id, cabinet, codes)
    state = state_of(outlets=[OutletReport(number, "free") for number in range(1, outlets + 1)])
    await connection.execute(
        "UPDATE cabinet SET online = TRUE, heard = now(), state_at = now(), state = %s, epoch = %s, boot = %s,"
        " challenge = %s, free_outlets = %s WHERE id = %s",
        (Jsonb(msgspec.to_builtins(state)), state.epoch, state.boot, state.challenge, outlets, cabinet),
    )
    await desired.set_value(connection, scene.company_id, cabinet, "tariffs", [{"file": tariff}])
    await connection.execute(
        "UPDATE desired SET applied_version = version, applied_value = value WHERE cabinet = %s", (cabinet,)
    )


async def add_resident(connection: Connection, scene: FleetScene, fen: int = 1000) -> int:
    number = next(_numbers)
    resident_id = await residents.add(connection, scene.company_id, phone=f"138{number:08}", name=f"Resident {number}")
    if fen:
        await wallets.top_up(connection, scene.company_id, resident_id, fen, f"first-{number}")
    return resident_id


def code_of(cabinet: str, outlet: int) -> str:
    return f"{cabinet}-{outlet}".upper()


def state_of(
    outlets: Sequence[OutletReport] = (), *, boot: str = "boot-1", epoch: str = "epoch-1", challenge: str = "1"
) -> StateReport:
    return StateReport(
        at=WallTime(1_780_000_000_000, True), boot=boot, epoch=epoch, challenge=challenge, outlets=list(outlets)
    )
