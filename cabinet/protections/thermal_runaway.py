"""Battery supervision by the charging curve: power that rises again when it should fall means heating. Pure.

A charger holds the current until the battery reaches its full voltage (power rises slowly, a lithium battery's by 8 %),
then holds the voltage while the current falls. In thermal runaway during that phase the battery's heat lowers its own
voltage, so it takes more current and gets hotter: over minutes to hours. Changes within seconds come from the charger
or the resident: a second pack or charger, a rest, a fan, an end of derating. Growth while the mains rises comes from a
resistor or a charger without regulation.
"""

from typing import Annotated, Any

from cabinet.model import Fault, Quality, Reading
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import NS, Section, number

MEAN_TAU_S = 30.0
# A step: two readings in a row that differ from the mean by more than this. With the mean's lag, growth of less than 16
# % a minute is a gradual rise: a runaway grows by some percent a minute, a soft start within seconds.
STEP_SHARE, STEP_MW = 0.08, 3_000
# After a step up a charger may take a while to settle, which belongs to the step. The interval between two settling
# times is limited: a runaway is detected no matter how often the charge is interrupted.
SETTLE_NS, SETTLE_EVERY_NS = 60 * NS, 120 * NS
SETTLING_TAU_S = 5.0  # of the mean meanwhile: a lag that remains at the end would look like growth
TAPERED_SHARE = 0.8  # of the plateau: below, the voltage is held and the current falls
MIN_PLATEAU_MW = 20_000  # less than any bike charger: the power of a lamp is not evaluated
IDLE_MW = 5_000  # below, nothing is charged, and an idle battery does not heat up
# Power that grew in steps by more than this share belongs to another battery, or to an additional one. It may be at
# constant current, when the power of a healthy battery rises: by 8 % (measured) to 40 % (voltage of a lead-acid
# battery, 10.5 to 14.8 V, from almost empty). The same applies to a battery that restarts with as much as it took at
# constant current.
JOINED_SHARE = 0.25
BEGUN_SHARE = 0.6
CONSTANT_CURRENT_SHARE = 0.5
# A charger without regulation draws by the margin of its voltage over the battery's: with a margin of one part in seven
# (assumed: 16 V beside 13.8), its power changes seven times as much as the mains; a resistor's, twice as much. Changes
# of the voltage below this share are noise, and those of seconds are steps.
MAINS_GAIN = 7
MAINS_SHARE = 0.01
GONE_MW, GONE_NS = 500, 3 * NS  # the plug was pulled: the next load is another battery


class ThermalRunawaySection(Section, frozen=True):
    """A battery whose power rises again although it should fall is heating up: the outlet opens, latched."""

    rise_share: Annotated[
        float,
        number("in the constant-voltage phase: so much above the lowest power, steps left out", least=0.05, most=1),
    ] = 0.15
    rise_w: Annotated[float, number("and at least so much: balancing and fans are no runaway", least=1, most=100)] = 6.0
    rise_for_s: Annotated[float, number("for so long", least=60, most=3600)] = 600.0
    taper_within_s: Annotated[
        float,
        number(
            "not used any more: a charge that never tapers ends at `charge.max_duration_s`", least=3600, most=86_400
        ),
    ] = 28_800.0


class ThermalRunaway(OutletProtection):
    """Trip on power that grows gradually in the constant-voltage phase. Steps are excluded: they set a new reference.

    `_lowest_mw` and `_plateau_mw` are scaled with each step, so the relative rise of power since its lowest value is
    the same before and after it.
    """

    fault = Fault.THERMAL_RUNAWAY
    section = ThermalRunawaySection
    latched = True
    forgets_on_closing = True
    rise_share: float
    rise_mw: int
    rise_for_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self.reset()

    def reset(self) -> None:
        self._at_ns: int | None = None
        self._mean_mw = 0.0
        self._highest_mw = 0.0  # mean of the whole charge
        self._plateau_mw = 0.0  # highest mean, scaled with the steps
        self._lowest_mw: float | None = None  # lowest mean since the taper began, scaled as well; None: no taper yet
        self._begun_anew = False  # it may be at constant current again
        self._joined = False  # a second charger may be plugged in, at constant current while the first one tapers
        self._stepped = 1.0  # growth factor of the steps since the references were last set
        self._idled = False  # power was idle since then
        self._rising_ns: int | None = None
        self._strayed = 0  # the last reading was far above (1) or below (-1) the mean
        self._settling_from_ns = 0
        self._gone_at_ns: int | None = None
        self._mains_mv: float | None = None  # mean, like that of the power; None: not measured
        self._mains_from = 0.0, 0.0  # voltage, and power scaled with the steps, at the last change of the mains

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if not inputs.closed:
            self.reset()
            return None
        power = inputs.power_mw
        if power.quality is not Quality.OK or power.value is None or power.at_ns == self._at_ns:
            return None
        if self._is_gone(power.value, power.at_ns):
            return None
        if self._at_ns is None:
            self._begin(power.value, power.at_ns, inputs.resumed)
            return None
        past_ns = power.at_ns - self._at_ns
        self._at_ns = power.at_ns
        if not self._follow(power.value, power.at_ns, past_ns):
            return None
        self._leave_out_mains(inputs.voltage_mv, past_ns / NS)
        return self._judge(past_ns)

    def _is_gone(self, power_mw: int, at_ns: int) -> bool:
        """Return whether nothing is plugged in; once this has lasted, the earlier charge is forgotten."""
        if self._gone_at_ns is not None and at_ns - self._gone_at_ns >= GONE_NS:
            self.reset()
        if power_mw >= GONE_MW:
            self._gone_at_ns = None
            return False
        self._gone_at_ns = at_ns if self._gone_at_ns is None else self._gone_at_ns
        return True

    def _begin(self, power_mw: int, at_ns: int, resumed: bool) -> None:
        """Begin a curve. A resumed charge may already taper: its rise is limited from the start, at a higher limit."""
        self._at_ns = self._settling_from_ns = at_ns
        self._mean_mw = self._plateau_mw = power_mw
        if resumed:
            self._lowest_mw, self._begun_anew = power_mw, True

    # --- Mean and steps ----------------------------------------------------------------------------------------------

    def _follow(self, power_mw: int, at_ns: int, past_ns: int) -> bool:
        """Take a reading into the mean, or as a step; return False for a first stray one, which may mean nothing."""
        off_mw = power_mw - self._mean_mw
        if abs(off_mw) > max(STEP_MW, STEP_SHARE * self._mean_mw):
            strayed, self._strayed = self._strayed, 1 if off_mw > 0 else -1
            if strayed != self._strayed:
                return False
            if off_mw > 0 and at_ns - self._settling_from_ns >= SETTLE_EVERY_NS:
                self._settling_from_ns = at_ns
            self._move(power_mw)
        else:
            self._strayed = 0
            past_s = past_ns / NS
            settling = at_ns - self._settling_from_ns < SETTLE_NS
            mean_mw = self._mean_mw + off_mw * past_s / ((SETTLING_TAU_S if settling else MEAN_TAU_S) + past_s)
            if settling or mean_mw < IDLE_MW:
                self._move(mean_mw)
            else:
                self._mean_mw = mean_mw
        self._idled = self._idled or self._mean_mw < IDLE_MW
        self._highest_mw = max(self._highest_mw, self._mean_mw)
        self._plateau_mw = max(self._plateau_mw, self._mean_mw)
        return True

    def _move(self, mean_mw: float) -> None:
        """Move the mean by a step, and scale the references with it."""
        factor = mean_mw / self._mean_mw
        self._mean_mw = mean_mw
        self._plateau_mw *= factor
        self._stepped *= factor
        self._mains_from = self._mains_from[0], self._mains_from[1] * factor
        if self._lowest_mw is None:
            return
        self._lowest_mw *= factor
        joined = self._stepped > 1 + JOINED_SHARE
        begun_anew = self._idled and mean_mw >= BEGUN_SHARE * self._highest_mw
        if factor > 1 and (joined or begun_anew):
            self._joined = self._joined or (joined and not self._idled)
            self._lowest_mw = self._plateau_mw = mean_mw
            self._begun_anew, self._stepped, self._idled, self._rising_ns = True, 1.0, False, None

    def _leave_out_mains(self, voltage: Reading, past_s: float) -> None:
        """Scale the references with the growth that a rise of the mains explains; a fall explains none."""
        if voltage.quality is not Quality.OK or not voltage.value:
            self._mains_mv = None
            return
        if self._mains_mv is None:
            self._mains_mv = float(voltage.value)
            self._mains_from = self._mains_mv, self._mean_mw
            return
        self._mains_mv += (voltage.value - self._mains_mv) * past_s / (MEAN_TAU_S + past_s)
        from_mv, from_mw = self._mains_from
        risen = self._mains_mv / from_mv
        if abs(risen - 1) < MAINS_SHARE:
            return
        explained = max(1.0, min(self._mean_mw / from_mw, risen**MAINS_GAIN)) if from_mw > 0 else 1.0
        self._plateau_mw *= explained
        if self._lowest_mw is not None:
            self._lowest_mw *= explained
        self._mains_from = self._mains_mv, self._mean_mw

    # --- Rise --------------------------------------------------------------------------------------------------------

    def _judge(self, past_ns: int) -> dict[str, int] | None:
        mean_mw = self._mean_mw
        if self._highest_mw < MIN_PLATEAU_MW or mean_mw < IDLE_MW:
            return None
        if mean_mw < TAPERED_SHARE * self._plateau_mw and (self._lowest_mw is None or self._begun_anew):
            self._lowest_mw, self._begun_anew, self._stepped, self._idled = mean_mw, False, 1.0, False
        if self._lowest_mw is None:
            return None
        self._lowest_mw = min(self._lowest_mw, mean_mw)
        share = CONSTANT_CURRENT_SHARE if self._begun_anew or self._joined else self.rise_share
        limit_mw = self._lowest_mw + max(share * self._lowest_mw, self.rise_mw)
        if mean_mw <= limit_mw:
            self._rising_ns = None
            return None
        self._rising_ns = 0 if self._rising_ns is None else self._rising_ns + past_ns
        if self._rising_ns < self.rise_for_ns:
            return None
        return {"power_mw": round(mean_mw), "lowest_mw": round(self._lowest_mw), "limit_mw": round(limit_mw)}
