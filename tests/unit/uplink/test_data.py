"""Mobile data of a month, from the bytes of one message on the wire."""

import asyncio
import random

import pytest

from cabinet.clock import WallTime
from cabinet.uplink import messages, packing
from cabinet.uplink.connection import KEEP_ALIVE_S, FleetConnection
from cabinet.uplink.enrolment import EnrolmentFiles
from cabinet.uplink.messages import OutletReport, StateReport
from cabinet.uplink.senders import STATE_ANYWAY_S, STATE_AT_MOST_S
from cabinet_testing.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.usefixtures("broker_installed")
MONTH_S = 30 * 86_400
MAX_MB = 60  # of the design, idle or charging
HEADERS = 52  # IPv4 and TCP with time stamps; each packet has an answer of the same size
TLS_RECORD = 22  # header, type and tag
PING = 2 * (2 + TLS_RECORD + 2 * HEADERS)


def state(number: int, charging: bool) -> bytes:
    """Ten outlets, with values that differ each time, as the service sends them."""
    numbers = random.Random(number)

    def outlet(outlet_number: int) -> OutletReport:
        if not charging:
            return OutletReport(outlet_number, "free", temperature_mc=numbers.randint(18_000, 26_000))
        return OutletReport(
            outlet_number,
            "in_use",
            temperature_mc=numbers.randint(18_000, 40_000),
            session_id=f"{random.Random(outlet_number).getrandbits(128):032x}",
            order=f"F{random.Random(outlet_number).getrandbits(40):010X}",
            phase="charging",
            power_mw=numbers.randint(20_000, 500_000),
            energy_mwh=numbers.randint(0, 2_000_000),
            powered_s=numbers.randint(0, 36_000),
            charging_s=numbers.randint(0, 36_000),
            cost_fen=numbers.randint(0, 500),
        )

    unique = f"{numbers.getrandbits(64):016x}"
    boot, epoch = "3f1c2d7e-5b7a-4f60-9d55-0d3a6c7a1b2c", "a1b2c3d4e5f60718"
    outlets = [outlet(outlet_number) for outlet_number in range(1, 11)]
    return messages.encode(
        StateReport(WallTime(number * 60_000, True), boot, epoch, unique, outlets, feed_mw=2_345_678)
    )


@pytest.mark.parametrize("charging", [False, True], ids=["idle", "ten charges day and night"])
def test_month_of_mobile_data_is_bounded(broker, tmp_path, charging):
    count = 20

    async def bytes_of_a_state(proxy: FaultProxy) -> float:
        broker.enrol("cab-data", tmp_path, port=proxy.port)
        files = EnrolmentFiles(tmp_path)
        place = files.place()
        assert place is not None
        connection = await FleetConnection.open(files.broker(place), trusted_time=True, not_before_unix_s=0)
        before, chunks = proxy.bytes, proxy.chunks
        for number in range(count):
            await connection.publish("state", packing.pack(state(number, charging)), retain=True)
        connection.close()
        return (proxy.bytes - before + (proxy.chunks - chunks) * 2 * HEADERS) / count

    with fault_proxy(broker.host, broker.port) as proxy:
        each = asyncio.run(bytes_of_a_state(proxy))
    period_s = STATE_AT_MOST_S if charging else STATE_ANYWAY_S
    pings = 0 if period_s <= KEEP_ALIVE_S else MONTH_S / KEEP_ALIVE_S - MONTH_S / period_s
    month_mb = (MONTH_S / period_s * each + pings * PING) / 1e6
    print(
        f"a state takes {each:.0f} bytes with its acknowledgement; a month {month_mb:.0f} MB, without facts and orders"
    )
    assert month_mb < MAX_MB
