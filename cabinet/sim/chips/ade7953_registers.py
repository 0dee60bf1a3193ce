"""Register table of the ADE7953 (data sheet Rev. B, p. 60-67): address, width, reset value and writable bits.

Each 24-bit register also appears 0x100 higher as a 32-bit register; both addresses share one cell.
"""

import functools
from typing import NamedTuple

RESET_BIT = 1 << 20
OVERCURRENT = 1 << 13
ZERO_CROSSING_MISSING = 1 << 14
OVERVOLTAGE = 1 << 16
SAG = 1 << 19
CRC_CHANGED = 1 << 21

# Interrupts that drive a pin in this model. If a driver enables another one, the model raises SimError.
MODELLED_A = OVERCURRENT | ZERO_CROSSING_MISSING | OVERVOLTAGE | SAG | RESET_BIT | CRC_CHANGED
MODELLED_B = OVERCURRENT

CRC_AT_DEFAULTS = 0x48739163  # p. 58


class Register(NamedTuple):
    """One register. `writable` is the mask of bits that a driver may set; None: read-only."""

    name: str
    reset: int = 0
    writable: int | None = None
    signed: bool = False


ALL24 = 0xFFFFFF

SAGCYC, DISNOLOAD, LCYCMODE, PGA_V, PGA_IA, PGA_IB, WRITE_PROTECT = 0x000, 0x001, 0x004, 0x007, 0x008, 0x009, 0x040
LAST_OP, UNLOCK, LAST_RWDATA_8, VERSION, EX_REF = 0x0FD, 0x0FE, 0x0FF, 0x702, 0x800
ZXTOUT, LINECYC, CONFIG, CFMODE, PHCALA, PHCALB, PFA, PFB = 0x100, 0x101, 0x102, 0x107, 0x108, 0x109, 0x10A, 0x10B
ANGLE_A, ANGLE_B, PERIOD, ALT_OUTPUT, REQUIRED, LAST_ADD, LAST_RWDATA_16 = (
    0x10C,
    0x10D,
    0x10E,
    0x110,
    0x120,
    0x1FE,
    0x1FF,
)
SAGLVL, ACCMODE, AP_NOLOAD, VAR_NOLOAD, VA_NOLOAD = 0x200, 0x201, 0x203, 0x204, 0x205
AVA, BVA, AWATT, BWATT, AVAR, BVAR, IA, IB, V = 0x210, 0x211, 0x212, 0x213, 0x214, 0x215, 0x216, 0x217, 0x218
IRMSA, IRMSB, VRMS, AENERGYA, AENERGYB = 0x21A, 0x21B, 0x21C, 0x21E, 0x21F
OVLVL, OILVL, VPEAK, RSTVPEAK = 0x224, 0x225, 0x226, 0x227
IAPEAK, RSTIAPEAK, IBPEAK, RSTIBPEAK = 0x228, 0x229, 0x22A, 0x22B
IRQENA, IRQSTATA, RSTIRQSTATA, IRQENB, IRQSTATB, RSTIRQSTATB = 0x22C, 0x22D, 0x22E, 0x22F, 0x230, 0x231
LAST_RWDATA_24, CRC = 0x2FF, 0x37F

UNLOCK_KEY = 0xAD
OP_READ, OP_WRITE = 0x35, 0xCA

REGISTERS: dict[int, Register] = {
    SAGCYC: Register("SAGCYC", 0, 0xFF),
    DISNOLOAD: Register("DISNOLOAD", 0, 0x07),
    LCYCMODE: Register("LCYCMODE", 0x40, 0x40),
    PGA_V: Register("PGA_V", 0, 0x07),
    PGA_IA: Register("PGA_IA", 0, 0x07),
    PGA_IB: Register("PGA_IB", 0, 0x07),
    WRITE_PROTECT: Register("WRITE_PROTECT", 0, 0x07),
    LAST_OP: Register("LAST_OP"),
    UNLOCK: Register("UNLOCK", 0, 0xFF),
    LAST_RWDATA_8: Register("LAST_RWDATA"),
    VERSION: Register("VERSION", 0x02),
    EX_REF: Register("EX_REF", 0, 0x00),
    ZXTOUT: Register("ZXTOUT", 0xFFFF, 0xFFFF),
    LINECYC: Register("LINECYC", 0, 0x0000),
    CONFIG: Register("CONFIG", 0x8004, 0x8184),
    0x103: Register("CF1DEN", 0x003F, 0x0000),
    0x104: Register("CF2DEN", 0x003F, 0x0000),
    CFMODE: Register("CFMODE", 0x0300, 0x0300),
    PHCALA: Register("PHCALA", 0, 0x03FF),
    PHCALB: Register("PHCALB", 0, 0x03FF),
    PFA: Register("PFA", signed=True),
    PFB: Register("PFB", signed=True),
    ANGLE_A: Register("ANGLE_A", signed=True),
    ANGLE_B: Register("ANGLE_B", signed=True),
    PERIOD: Register("PERIOD"),
    ALT_OUTPUT: Register("ALT_OUTPUT", 0, 0x000F),
    REQUIRED: Register("the register at 0x120", 0, 0x0030),
    LAST_ADD: Register("LAST_ADD"),
    LAST_RWDATA_16: Register("LAST_RWDATA"),
    SAGLVL: Register("SAGLVL", 0, ALL24),
    ACCMODE: Register("ACCMODE", 0, 0x000000),
    AP_NOLOAD: Register("AP_NOLOAD", 0x00E419, ALL24),
    VAR_NOLOAD: Register("VAR_NOLOAD", 0x00E419, ALL24),
    VA_NOLOAD: Register("VA_NOLOAD", 0, ALL24),
    **{
        address: Register(name, signed=True)
        for address, name in {
            AVA: "AVA", BVA: "BVA", AWATT: "AWATT", BWATT: "BWATT", AVAR: "AVAR", BVAR: "BVAR",
            IA: "IA", IB: "IB", V: "V", AENERGYA: "AENERGYA", AENERGYB: "AENERGYB",
        }.items()
    },
    **{
        address: Register(name)
        for address, name in {
            IRMSA: "IRMSA", IRMSB: "IRMSB", VRMS: "VRMS", VPEAK: "VPEAK", RSTVPEAK: "RSTVPEAK", IAPEAK: "IAPEAK",
            RSTIAPEAK: "RSTIAPEAK", IBPEAK: "IBPEAK", RSTIBPEAK: "RSTIBPEAK", IRQSTATA: "IRQSTATA",
            RSTIRQSTATA: "RSTIRQSTATA", IRQSTATB: "IRQSTATB", RSTIRQSTATB: "RSTIRQSTATB", LAST_RWDATA_24: "LAST_RWDATA",
        }.items()
    },
    OVLVL: Register("OVLVL", ALL24, ALL24),
    OILVL: Register("OILVL", ALL24, ALL24),
    IRQENA: Register("IRQENA", RESET_BIT, MODELLED_A),
    IRQENB: Register("IRQENB", 0, MODELLED_B),
    CRC: Register("CRC", 0xFFFFFFFF),
    **{0x280 + i: Register(name, 0x400000, ALL24) for i, name in enumerate(["AIGAIN", "AVGAIN", "AWGAIN"])},
    **{0x283 + i: Register(name, 0x400000, 0) for i, name in enumerate(["AVARGAIN", "AVAGAIN"])},
    0x286: Register("AIRMSOS", 0, ALL24, signed=True),
    0x288: Register("VRMSOS", 0, ALL24, signed=True),
    0x289: Register("AWATTOS", 0, ALL24, signed=True),
    0x28A: Register("AVAROS", 0, 0, signed=True),
    0x28B: Register("AVAOS", 0, 0, signed=True),
    0x28C: Register("BIGAIN", 0x400000, ALL24),
    0x28D: Register("BVGAIN", 0x400000, 0),
    0x28E: Register("BWGAIN", 0x400000, ALL24),
    0x28F: Register("BVARGAIN", 0x400000, 0),
    0x290: Register("BVAGAIN", 0x400000, 0),
    0x292: Register("BIRMSOS", 0, ALL24, signed=True),
    0x295: Register("BWATTOS", 0, ALL24, signed=True),
    0x296: Register("BVAROS", 0, 0, signed=True),
    0x297: Register("BVAOS", 0, 0, signed=True),
}  # fmt: skip

# Names for `stuck` and `upset`: those a person needs most, then every other register by its name in the data sheet.
_READ_ONLY_NAMES: dict[str, tuple[int, ...]] = {
    "peak_a": (IAPEAK, RSTIAPEAK), "peak_b": (IBPEAK, RSTIBPEAK), "rms_a": (IRMSA,), "rms_b": (IRMSB,),
    "power_a": (AWATT,), "power_b": (BWATT,), "voltage": (VRMS,), "voltage_sample": (V,),
    "voltage_peak": (VPEAK, RSTVPEAK), "energy_a": (AENERGYA,), "energy_b": (AENERGYB,), "period": (PERIOD,),
    "status_a": (IRQSTATA, RSTIRQSTATA), "status_b": (IRQSTATB, RSTIRQSTATB), "sample_a": (IA,), "sample_b": (IB,),
    "reactive_a": (AVAR,), "reactive_b": (BVAR,), "apparent_a": (AVA,), "apparent_b": (BVA,),
    "power_factor_a": (PFA,), "power_factor_b": (PFB,), "angle_a": (ANGLE_A,), "angle_b": (ANGLE_B,),
    "config": (CONFIG,), "required": (REQUIRED,),
}  # fmt: skip
_NAMED = frozenset(address for addresses in _READ_ONLY_NAMES.values() for address in addresses)
_LAST_ACCESS = frozenset({LAST_OP, LAST_ADD, LAST_RWDATA_8, LAST_RWDATA_16, LAST_RWDATA_24, UNLOCK})
NAMES: dict[str, tuple[int, ...]] = {
    **_READ_ONLY_NAMES,
    **{
        register.name.lower(): (address,)
        for address, register in REGISTERS.items()
        if address not in _NAMED and address not in _LAST_ACCESS
    },
}

MIN_GAIN, MAX_GAIN = 0x200000, 0x600000  # p. 34
GAINS = frozenset({0x280, 0x281, 0x282, 0x283, 0x284, 0x28C, 0x28D, 0x28E, 0x28F, 0x290})

# Groups of registers: of the last access; cleared by reading; all ones if the bus is undriven; not measured; scaling.
LAST = frozenset({LAST_OP, LAST_ADD, LAST_RWDATA_8, LAST_RWDATA_16, LAST_RWDATA_24})
READ_AWAY = frozenset({RSTIAPEAK, RSTIBPEAK, RSTVPEAK})
GARBLED = READ_AWAY | {IAPEAK, IBPEAK, VPEAK, IRMSA, IRMSB, VRMS}
NOT_MEASURED = LAST | {IRQSTATA, RSTIRQSTATA, IRQSTATB, RSTIRQSTATB, CRC}
SCALING = frozenset({PGA_V, PGA_IA, PGA_IB, PHCALA, PHCALB, DISNOLOAD, AP_NOLOAD, 0x286, 0x289, 0x292, 0x295}) | GAINS

# Cells covered by the checksum (p. 59); 0x280 to 0x297 include the reserved ones between.
CRC_CELLS = (
    LCYCMODE, PGA_V, PGA_IA, PGA_IB, WRITE_PROTECT, CONFIG, 0x103, 0x104, CFMODE, PHCALA, PHCALB, ALT_OUTPUT, ACCMODE,
    IRQENA, IRQENB, *range(0x280, 0x298),
)  # fmt: skip


@functools.cache
def width(address: int) -> int:
    """Return the width in bytes of the register at `address`, by its block (p. 60)."""
    block = address >> 8
    return 1 if block in (0x0, 0x7, 0x8) else block + 1


@functools.cache
def cell(address: int) -> int:
    """Return the cell of an address: a 32-bit address is the 24-bit one 0x100 lower, except for the CRC."""
    if address >> 8 == 3 and address != CRC:
        return address - 0x100
    return address


def reset_values() -> dict[int, int]:
    """Return all cells as they are after a reset."""
    return {address: register.reset for address, register in REGISTERS.items()}


def signed24(value: int) -> int:
    return value - 0x1000000 if value & 0x800000 else value
