"""Memory with ten charges, and disk writes with and without them."""

from vm.harness import AS_SERVICE, CARD, CODES, PHONE, PIN, VmHarness
from vm.scenarios.footprint import measure_memory
from vm.scenarios.written import SETTLING_S, checkpoint_as_delivered, written_mb

PROMISE = "ten outlets charge: memory of the whole product within 160 MB; at most 20 MB an hour written"
BEFORE = "charging"
IN_CONTAINER = True
IN_MACHINE = False  # an emulated processor is too slow for ten outlets and their hardware
RELAYS = dict(zip(range(3, 11), (12, 13, 16, 18, 19, 20, 21, 22), strict=True))  # outlets in addition to the first two
FIRST_CARD = 10023400
# Two outlets per channel of the multiplexer, like the first two.
BLOCK = """
[[outlet]]
number = {number}
code = "{code}"
relay = "gpio:{relay}"
meter = {{ mux = 0x70, channel = {channel}, input = "{side}" }}
thermometer = {{ mux = 0x70, channel = {channel}, address = 0x48 }}
"""


def run(harness: VmHarness) -> None:
    harness.charging()
    harness.run("systemctl stop cabinet-service cabinet-guard", 60)
    blocks = "".join(_block(number) for number in RELAYS)
    for path in ("/opt/bench/sim.toml", "/etc/cabinet/cabinet.toml"):
        harness.run(f"printf '%s' '{blocks}' >> {path}")
    harness.shows("cabinet check takes ten outlets", harness.ok("cabinet check /etc/cabinet/cabinet.toml"))
    harness.run("systemctl restart bench-sim bench-hardware && systemctl start cabinet-guard cabinet-service", 120)
    harness.charging()
    harness.run(f"{PHONE} stop {CARD} {PIN} {CODES[1]}")
    harness.wait("open after the stop", harness.all_open(), 30)
    harness.run(f"sleep {SETTLING_S}", SETTLING_S + 60)
    harness.measured("written an hour, nobody charges", written_mb(harness), "MB", 20)
    harness.start(1)
    for number in (2, *RELAYS):
        card = FIRST_CARD + number
        harness.run(f"cabinet sim plug {number} lithium-48v --charge 10 --config /opt/bench/sim.toml")
        harness.run(f"{AS_SERVICE} resident add {card} --pin {PIN} --balance 50")
        harness.wait("a start that is taken", f"{PHONE} start {card} {PIN} {_code(number)}", 60)
    harness.shows("ten charges run", harness.run(f"{AS_SERVICE} store running").strip() == "10")
    measure_memory(harness)
    checkpoint_as_delivered(harness)
    harness.measured("written an hour, ten outlets charge", written_mb(harness), "MB", 20)
    harness.check_money()


def _code(number: int) -> str:
    return "B3M9" if number == 2 else f"C{number:02}X"


def _block(number: int) -> str:
    index = number - 1
    return BLOCK.format(
        number=number, code=_code(number), relay=RELAYS[number], channel=index // 2, side="AB"[index % 2]
    )
