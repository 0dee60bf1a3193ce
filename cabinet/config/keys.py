"""Keys of `cabinet.toml`, each declared once: type, unit (in the name), bounds, default and reason.

The check and its messages (`check`), the commented example and the reference page (`reference`) use these
declarations. Values are in plain SI units, as people write them; the guard converts them to integer milli-units.
"""

from typing import Annotated

from msgspec import Meta

from cabinet import sections
from cabinet.config.tariff_keys import TariffSection
from cabinet.protections.feed_overload import FeedSection
from cabinet.protections.table import ProtectionsSection
from cabinet.sections import Address, I2cAddress, Pin, Section, number, text

PUBLIC_URL = "^https?://[^/ ]+$"
PLACE = "^(expander:0x2[0-7]/(1[0-5]|[0-9])|gpio:(0|[1-9][0-9]?))$"  # parsed by `cabinet.config.wiring`


class SiteSection(Section, frozen=True, kw_only=True):
    """The cabinet's place, as residents and receipts name it."""

    name: Annotated[str, text("name of the cabinet's site, shown to residents", longest=80)]
    name_en: Annotated[str, Meta(max_length=80, description="the same in English; empty: as `name`")] = ""
    site_id: Annotated[str, text("short id in order numbers and usage logs", pattern="^[A-Z0-9-]+$", longest=16)]
    public_url: Annotated[str, text("address residents' phones reach; printed in the codes", pattern=PUBLIC_URL)]
    complaint_phone: Annotated[str, text("printed on receipts and stickers", longest=40)]
    timezone: Annotated[str, text("IANA zone of the site, for dates and time-of-use prices")] = "Asia/Shanghai"


class MeterSection(Section, frozen=True):
    """The place of an outlet's ADE7953, and the current input (of two) that the outlet uses."""

    mux: Annotated[int, number("address of the mux", least=0x70, most=0x77)]
    channel: Annotated[int, number("channel of the mux", least=0, most=7)]
    input: Annotated[str, Meta(pattern="^[AB]$", description="current input of the chip: A or B")]
    current_gain: Annotated[float, number("calibration: true over raw current", least=0.5, most=1.5)] = 1.0
    power_gain: Annotated[float, number("calibration: true over raw power and energy", least=0.5, most=1.5)] = 1.0


class AlertExpanderSection(Section, frozen=True):
    """An MCP23017 that reads alert lines, and its interrupt line (INTA or INTB: both report all)."""

    address: Annotated[int, number("address of the MCP23017; it may carry relays too", least=0x20, most=0x27)]
    interrupt_pin: Annotated[Pin, Meta(description="GPIO wired to INTA or INTB; active low")]


class HardwareSection(Section, frozen=True):
    """Bus, pins and chips that all outlets share."""

    bus: Annotated[str, text("I2C bus: /dev/i2c-N, or sim for the simulator", pattern="^(/dev/i2c-[0-9]+|sim)$")] = (
        "/dev/i2c-1"
    )
    bus_speed_hz: Annotated[
        int, number("clock of the bus; all chips used allow 400 kHz", least=10_000, most=400_000)
    ] = 400_000
    pin_factory: Annotated[
        str, text("gpiozero pin factory, named: no silent fallback", pattern="^(lgpio|rpigpio|native|sim)$")
    ] = "lgpio"
    expanders: Annotated[
        tuple[I2cAddress, ...], Meta(max_length=8, description="addresses of the MCP23017, upstream of the muxes")
    ] = (0x20,)
    muxes: Annotated[
        tuple[Annotated[int, number("TCA9548A address", least=0x70, most=0x77)], ...],
        Meta(max_length=8, description="addresses of the TCA9548A bus switches"),
    ] = (0x70,)
    mux_reset_pin: Annotated[Pin | None, Meta(description="GPIO wired to RESET of every mux: frees a stuck bus")] = None
    clock_out_pin: Annotated[
        Pin | None,
        Meta(
            description="GPIO wired to the bus's SCL through a diode: nine pulses free an upstream chip that holds SDA"
        ),
    ] = None
    alert_expanders: Annotated[
        tuple[AlertExpanderSection, ...],
        Meta(max_length=8, description="expanders at which over-current lines end, where GPIO lines are too few"),
    ] = ()
    contactor_pin: Annotated[Pin | None, Meta(description="GPIO of the upstream contactor's coil")] = None
    relay_breaking_a: Annotated[
        float, number("RMS current an outlet's relay can break; more, and the contactor breaks it", least=5, most=500)
    ] = 78.0
    contactor_release_s: Annotated[
        float, number("from the contactor's coil to no current, its arc included", least=0.01, most=0.08)
    ] = 0.04
    relay_release_s: Annotated[float, number("from a relay's coil to open contacts", least=0.005, most=0.05)] = 0.02
    relay_operate_s: Annotated[float, number("from a relay's coil to closed contacts", least=0, most=0.05)] = 0.007
    relay_rated_a: Annotated[
        float, number("RMS current for which the relay's data sheet gives its electrical life", least=1, most=100)
    ] = 16.0
    relay_electrical_operations: Annotated[
        int, number("operations at that current until the contacts are used up", least=1000, most=10_000_000)
    ] = 100_000
    relay_mechanical_operations: Annotated[
        int, number("operations without current until the relay is used up", least=10_000, most=1_000_000_000)
    ] = 10_000_000
    relay_warn_share: Annotated[
        float, number("of its life, from which on a relay is to be replaced", least=0.1, most=1)
    ] = 0.8
    closing_gap_s: Annotated[
        float, number("between two outlets' closings: inrushes must not coincide", least=0.02, most=5)
    ] = 0.2
    smoke_pin: Annotated[
        Pin | None, Meta(description="GPIO of the smoke contact: closed to ground when all is well, a cut wire alarms")
    ] = None
    water_pin: Annotated[Pin | None, Meta(description="GPIO of the water contact, wired as the smoke contact")] = None
    residual_pin: Annotated[
        Pin | None, Meta(description="GPIO of the residual-current monitor's alarm contact, wired as the smoke contact")
    ] = None
    residual_test_pin: Annotated[Pin | None, Meta(description="GPIO of the residual-current monitor's test input")] = (
        None
    )
    siren_pin: Annotated[Pin | None, Meta(description="GPIO of the siren")] = None
    feed_meter: Annotated[
        MeterSection | None,
        Meta(description="a meter of the whole cabinet, written as an outlet's `meter`"),
    ] = None
    heartbeat_pin: Annotated[
        Pin | None, Meta(description="GPIO whose toggling gates the relay-coil supply (100 ms without = no coil power)")
    ] = None
    inside_thermometer: Annotated[
        I2cAddress | None, Meta(description="TMP102 inside the cabinet, upstream of the muxes")
    ] = None
    current_full_scale_a: Annotated[
        float, number("peak current that drives the meter input to full scale (500 mV)", above=0, most=2000)
    ] = 200.0
    voltage_full_scale_v: Annotated[
        float, number("peak mains voltage that drives the meter input to full scale (500 mV)", above=0, most=2000)
    ] = 500.0
    frequency_hz: Annotated[int, number("nominal mains frequency", least=50, most=60)] = 50


class ThermometerSection(Section, frozen=True):
    """A TMP102 at the outlet's contacts; two neighbours may share one."""

    mux: Annotated[int, number("address of the mux", least=0x70, most=0x77)]
    channel: Annotated[int, number("channel of the mux", least=0, most=7)]
    address: Annotated[int, number("address of the TMP102", least=0x48, most=0x4B)] = 0x48


class OutletSection(Section, frozen=True, kw_only=True):
    """One socket-outlet of the cabinet; repeat the table for each."""

    # Not plain `number`: an annotation that is evaluated late (Python 3.14) would take it for this field.
    number: Annotated[int, sections.number("as printed on the cabinet", least=1, most=40)]
    code: Annotated[str, text("in the printed QR code; public, starts nothing by itself", pattern="^[A-Z0-9]{4,12}$")]
    relay: Annotated[str, text("expander:0x20/3 (pin 0-15, GPA0 = 0, GPB0 = 8) or gpio:17; active high", pattern=PLACE)]
    meter: MeterSection
    thermometer: ThermometerSection | None = None
    alert: Annotated[
        Annotated[str, Meta(pattern=PLACE)] | None,
        Meta(
            description="where this outlet's over-current line ends, as `relay`, but not at pin 7 or 15 of an expander,"
            " which are outputs only; active low; none: by polling only"
        ),
    ] = None
    max_power_w: Annotated[float, sections.number("rating of the outlet", above=0, most=3500)] = 1000.0


class ChargeSection(Section, frozen=True):
    """Normal ends of a charge."""

    full_floor_w: Annotated[
        float,
        number("full: power below this, or the share of the plateau; at most half of the plateau", above=0, most=100),
    ] = 15.0
    full_share: Annotated[float, number("full: power below this share of the session's plateau", above=0, most=0.5)] = (
        0.12
    )
    full_hold_s: Annotated[
        float,
        number("full: for so long; 4 times for a charger that idles but did not taper", least=1, most=14_400),
    ] = 1800.0
    full_hysteresis_w: Annotated[
        float, number("full: a rise above the limit by less than this does not start it over", least=0, most=50)
    ] = 6.0
    unplugged_w: Annotated[
        float,
        number("unplugged: power below this after a load; a resting charger takes 0.8", above=0, most=20),
    ] = 0.5
    unplugged_hold_s: Annotated[float, number("unplugged: for so long", least=1, most=600)] = 60.0
    no_load_w: Annotated[
        float,
        number("a load, which charging time counts: from here on; chargers idle at 1 to 3", above=0, most=50),
    ] = 5.0
    no_load_s: Annotated[float, number("no load: for so long after the start", least=5, most=600)] = 120.0
    crosstalk_share: Annotated[float, number("of the neighbour's power that may show here", least=0, most=0.05)] = 0.005
    max_duration_s: Annotated[float, number("no charge is longer, powered time", least=60, most=86_400)] = 36_000.0


class GuardSection(Section, frozen=True):
    """The guard's own loop."""

    scan_period_s: Annotated[
        float,
        number(
            "a scan of all peaks starts so often; if it is not given, a Raspberry Pi takes the shortest that it holds",
            least=0.001,
            most=0.005,
        ),
    ] = 0.003
    keeper_timeout_s: Annotated[float, number("guard silent for so long: the keeper opens all", least=0.05, most=1)] = (
        0.2
    )
    realtime_priority: Annotated[
        int, number("SCHED_FIFO priority, the keeper's is one above; 0: none", least=0, most=59)
    ] = 50
    snapshot_hz: Annotated[int, number("snapshots a second to whoever watches", least=1, most=20)] = 5


class ServiceSection(Section, frozen=True):
    """Web server, sessions and wallets."""

    host: Annotated[str, text("address the web server listens on")] = "127.0.0.1"
    port: Annotated[int, number("port of the web server; 0: any free one", least=0, most=65_535)] = 8080
    tls_certificate: Annotated[
        str, Meta(max_length=200, description="file of the certificate and its chain (PEM): https; empty: http")
    ] = ""
    tls_key: Annotated[
        str, Meta(max_length=200, description="file of its private key (PEM), readable by the service alone")
    ] = ""
    trusted_proxies: Annotated[
        tuple[Address, ...],
        Meta(max_length=16, description="addresses or networks whose X-Forwarded-For and -Proto are believed"),
    ] = ()
    connections_per_address: Annotated[
        int,
        number("connections one address may hold, half of them live pages; of 500 and 200 in all", least=20, most=400),
    ] = 100
    staff_idle_s: Annotated[
        float, number("a property login left alone ends; after 12 hours it ends anyway", least=60, most=43_200)
    ] = 3600.0
    checkpoint_s: Annotated[
        float, number("meter checkpoints; a power cut costs at most this much metering", least=0.2, most=60)
    ] = 10.0
    resume_within_s: Annotated[
        float, number("after a longer outage sessions end instead of going on", least=0, most=7200)
    ] = 1800.0
    minimum_hold_fen: Annotated[int, number("a wallet with less starts nothing", least=0, most=100_000)] = 100
    full_hold_fen: Annotated[
        int, number("held for a charge until full, where the wallet has it", least=1, most=1_000_000)
    ] = 500


class ConsoleSection(Section, frozen=True):
    """The maintenance console on its serial port."""

    port: Annotated[
        str, Meta(max_length=200, description="serial device; pty: a pseudo-terminal; empty: no console")
    ] = ""
    baud: Annotated[int, number("speed of the line, 8N1", least=9600, most=921_600)] = 115_200
    language: Annotated[str, Meta(pattern="^(zh|en)$", description="language until a user chooses")] = "zh"
    idle_logout_s: Annotated[float, number("a login left alone ends", least=30, most=3600)] = 300.0


class PathsSection(Section, frozen=True):
    """Folders for files."""

    state: Annotated[str, text("folder of database, latches, trips and keys; writable")] = "/var/lib/cabinet"
    run: Annotated[str, text("folder of the sockets")] = "/run/cabinet"


class UplinkSection(Section, frozen=True):
    """The link to a fleet (docs/fleet.md): residents then pay and start by phone from anywhere. Off by default."""

    enabled: Annotated[bool, Meta(description="keep facts for a fleet and take its signed orders")] = False
    fleet_url: Annotated[
        str, Meta(max_length=200, pattern="^(https://[^/ ]+)?$", description="address of the fleet, for the enrolment")
    ] = ""
    fleet_ca: Annotated[
        str, Meta(max_length=200, description="file of the CA that signs that address (PEM); empty: the system's CAs")
    ] = ""


class SimulatorSection(Section, frozen=True):
    """Only for a simulated cabinet (`hardware.bus = "sim"`)."""

    mains_v: Annotated[float, number("voltage of the simulated mains", least=0, most=300)] = 220.0
    ambient_c: Annotated[float, number("temperature around the simulated cabinet", least=-30, most=60)] = 25.0
    seed: Annotated[int, Meta(ge=0, description="of everything random in the simulator")] = 1


class Config(Section, frozen=True, kw_only=True):
    site: SiteSection
    hardware: HardwareSection = HardwareSection()
    outlet: Annotated[tuple[OutletSection, ...], Meta(min_length=1, max_length=40, description="one table an outlet")]
    protections: ProtectionsSection = ProtectionsSection()
    feed: FeedSection = FeedSection()
    charge: ChargeSection = ChargeSection()
    guard: GuardSection = GuardSection()
    service: ServiceSection = ServiceSection()
    console: ConsoleSection = ConsoleSection()
    paths: PathsSection = PathsSection()
    uplink: UplinkSection = UplinkSection()
    tariff: TariffSection
    simulator: SimulatorSection = SimulatorSection()

    @property
    def simulated(self) -> bool:
        return self.hardware.bus == "sim"

    def outlet_by_number(self, number: int) -> OutletSection | None:
        return next((outlet for outlet in self.outlet if outlet.number == number), None)

    def outlet_by_code(self, code: str) -> OutletSection | None:
        return next((outlet for outlet in self.outlet if outlet.code == code), None)
