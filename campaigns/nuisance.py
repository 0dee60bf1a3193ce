"""Thousands of ordinary charges under ordinary disturbances: none is cut without a reason.

Each scenario is one cabinet, with parts that vary as much as the wiring manual allows, and ten charges: all chargers,
random ones, those with a habit (a second pack, a rest, a hot pause, 12 W, iron cores), empty or nearly full, until
full, for an hour or for an amount. Plugs are pulled temporarily or finally, or are loose for seconds; neighbours are
plugged in; the mains has harmonics, varies between 198 and 242 V and 49 and 51 Hz, and fails for milliseconds or for
half a minute; it is freezing or 45 °C, meters are noisy, and one read in a hundred is lost. Hours pass in strides;
events are simulated at the full rate.

For a charger with a habit the check is the expectation of its owner: the correct end reasons, and their earliest time.
"""

import random
import sys
import tempfile
from pathlib import Path

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done, Energise, Refusal
from cabinet.model import ChargeLimits, EndReason, Event, EventKind, Fault, MeterCount
from cabinet.sim.batteries import HEALTHY
from cabinet.sim.chargers import Charger, random_charger
from cabinet.sim.loads import Load
from cabinet_testing import sim_tolerances
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_habits import Habit, HabitLoad, random_habit
from cabinet_testing.sim_tolerances import SUITED
from campaigns.expected import BY_ITSELF, PULLED_OUT, TOLERANCE_S, Expected, Sample, Way
from campaigns.runner import Campaign, Outcome, main

OUTLETS = range(1, 11)
NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}  # hours pass in strides, during which it would be lost
STEP_NS = 20 * NS
MAX_H = 16
LOST_READS = 0.01
WATCHED_NS = 150 * MS  # simulated at the full rate before and after each event
CLOSING_NS = 250 * MS  # the guard leaves 0.2 s between two closings
SETTLE_S = 12  # strides of 1 s, until a charger's soft start is over
IRON_SHARE = 0.15  # share of the random chargers
HABIT_STEP_S = 5.0  # interval for reading the power of a curve
HABIT_SLACK_S = 3 * 3600.0  # after its end: four holds of `full`, and one stride
PAUSE_S = 900.0  # between two events, on average


class Guest:
    """One charge: its charger, its limits, and the events that affected it."""

    def __init__(self, load: Load | None, session_id: str, limits: ChargeLimits) -> None:
        self.load = load
        self.session_id = session_id
        self.limits = limits
        self.expected: Expected | None = None
        self.suspended: MeterCount | None = None  # usage when the mains failed
        self.had_load = False
        self.reasons = BY_ITSELF  # correct end reasons if its load is gone
        self.end: Event | None = None
        self.habit: Habit | None = None

    @property
    def played_s(self) -> float:
        """Position of its charger on its curve, in seconds."""
        return self.load.played_s if isinstance(self.load, HabitLoad) else 0.0


class Life:
    """One cabinet for one day."""

    def __init__(self, folder: Path, chance: random.Random, verbose: bool) -> None:
        self.chance = chance
        self.verbose = verbose
        self.sim = SimCabinet(folder, demo_config(NO_HEARTBEAT), seed=chance.getrandbits(32))
        sim_tolerances.draw(self.sim.world, chance, SUITED)
        self.sim.world.ambient_c = chance.uniform(-10, 45)
        self.sim.boot()  # start at this temperature: a jump of the air at all thermometers is not weather
        self.guests: dict[int, Guest] = {}
        self.habits: dict[str, Habit] = {}  # by the name of the load
        self.problems: list[str] = []
        self.loose: int | None = None  # outlet with a loose plug, which cannot always be told from a short
        self.unjudged = 0  # ends at outlets with too much crosstalk from the neighbour
        self.started_ns = self.sim.clock.monotonic_ns()
        self.errors_s: list[float] = []
        self.seen = 0
        self.dark = False  # the mains is cut, or was just restored
        self.dark_at_ns = -3600 * NS
        self.wander()
        self.sim.stride(600 * NS, 10 * NS)  # until all parts have the temperature of the day

    def say(self, what: str) -> None:
        if self.verbose:
            print(f"{self.sim.clock.monotonic_ns() / NS:10.3f} s: {what}", file=sys.stderr)

    # --- Time --------------------------------------------------------------------------------------------------------

    def go_on(self, duration_ns: int, longest_ns: int = STEP_NS) -> None:
        """Advance in strides, and check all charges after each stride."""
        while duration_ns > 0:
            step_ns = min(longest_ns, duration_ns)
            self.sim.stride(step_ns, step_ns)
            self.look()
            duration_ns -= step_ns

    def watch(self, duration_ns: int) -> None:
        """Simulate at the full rate, with one read in a hundred lost."""
        self.sim.world.fault(None, "noise_reads", share=LOST_READS)
        self.sim.run(duration_ns)
        self.sim.world.clear(None)
        self.sim.run(30 * MS)  # lost values are read again before the next stride
        self.look()
        self.go_on(SETTLE_S * NS, NS)

    def look(self) -> None:
        """Compare the actions of the guard since the last call with the expected ones."""
        sim = self.sim
        events, self.seen = sim.seen[self.seen :], len(sim.seen)
        for event in events:
            if event.kind is EventKind.SUSPENDED:
                self.judge(event)  # first, because later samples are not part of the charge
        now_ns = sim.clock.monotonic_ns()
        truths = {number: sim.world.truth(number) for number in self.guests}
        for number, guest in self.guests.items():
            if guest.expected is None or guest.end is not None or guest.suspended is not None:
                continue
            neighbour = truths.get(number + 1 if number % 2 else number - 1)
            neighbour_w = 0.0 if neighbour is None else neighbour.power_mw / 1000
            truth = truths[number]
            over = any(event.kind is EventKind.ENDED and event.outlet == number for event in events)
            watts = guest.expected.watts if over else truth.power_mw / 1000  # power before the outlet was opened
            guest.expected.step(Sample(now_ns, watts, neighbour_w, truth.energy_mwh, guest.reasons))
        for event in events:
            if event.kind is not EventKind.SUSPENDED:
                self.judge(event)
        for number, guest in self.guests.items():
            if guest.end is None and guest.expected is not None and self.is_overdue(guest, number, now_ns):
                if not self.is_loud(number):
                    self.problems.append(f"outlet {number}: has not ended: {guest.expected}")
                sim.stop(number)
        self.resume()

    # --- Checks ------------------------------------------------------------------------------------------------------

    def judge(self, event: Event) -> None:
        guest = None if event.outlet is None else self.guests.get(event.outlet)
        if event.kind in (EventKind.CLOSED, EventKind.RECOVERED, EventKind.GUARD_STARTED):
            return
        if event.kind is EventKind.LOAD_SEEN and guest is not None:
            guest.had_load = True
        elif event.kind is EventKind.SUSPENDED and guest is not None and event.fault is Fault.UNDERVOLTAGE:
            guest.suspended = event.charge_count
            if not self.dark:
                self.problems.append(f"outlet {event.outlet}: suspended with mains there: {event.why}")
        elif event.kind is EventKind.ENDED and guest is not None and guest.expected is not None:
            self.judge_end(event, guest, guest.expected)
        elif event.kind is not EventKind.ENDED:
            if guest is not None and event.kind is EventKind.TRIPPED:
                guest.end = event
                if event.fault is Fault.SHORT_CIRCUIT and event.outlet == self.loose:
                    self.unjudged += 1  # the class that the safety case names; the inrush campaign gives its share
                    return
            self.problems.append(
                f"outlet {event.outlet}: {event.kind.value} {event.fault and event.fault.value} {event.why}"
            )

    def is_loud(self, number: int) -> bool:
        """Return whether the chip's crosstalk from the neighbour is above the configured share, 0.5 %.

        If it is, empty, idle and full cannot be detected at the outlet: the only requirement is that it must not trip.
        """
        share, everywhere = self.sim.world.fitted_crosstalk.get(number, (0.0, False))
        return everywhere and share > self.sim.config.charge.crosstalk_share

    def is_overdue(self, guest: Guest, number: int, now_ns: int) -> bool:
        assert guest.expected is not None  # checked by the caller
        if self.is_loud(number):
            return now_ns - self.started_ns > LOUD_H * 3600 * NS
        if guest.habit is None:
            return guest.expected.overdue(now_ns)
        return guest.played_s > guest.habit.hours * 3600 + HABIT_SLACK_S

    def judge_habit(self, event: Event, guest: Guest, habit: Habit) -> None:
        """Check the end of a charge with a habit: a limit is reached, or the curve is at a point with a correct end."""
        assert guest.expected is not None
        if event.reason in (EndReason.LIMIT_TIME, EndReason.LIMIT_ENERGY, EndReason.MAX_DURATION):
            error_s = guest.expected.error_s(event.at_ns, event.reason)
            if error_s is None or abs(error_s) > TOLERANCE_S + guest.expected.breaks * STEP_NS / NS:
                self.problems.append(f"outlet {event.outlet}: {habit.name}: {event.reason.value} {error_s} s off")
            return
        if event.reason in PULLED_OUT | BY_ITSELF and guest.expected.may_be_gone:
            self.unjudged += 1  # its power may be crosstalk of the neighbour: the two are indistinguishable
            return
        pulled = guest.reasons is not BY_ITSELF
        allowed = habit.allowed | guest.reasons
        if event.reason not in allowed or (not pulled and guest.played_s < habit.not_before_s):
            self.problems.append(
                f"outlet {event.outlet}: {habit.name}: {event.reason and event.reason.value} after "
                f"{guest.played_s:.0f} s of its curve, right from {habit.not_before_s:.0f} s on: {guest.expected}"
            )

    def judge_end(self, event: Event, guest: Guest, expected: Expected) -> None:
        guest.end = event
        assert event.reason is not None
        if self.is_loud(event.outlet or 0):
            self.unjudged += 1
            return
        self.say(f"outlet {event.outlet}: {event.reason.value}")
        if event.reason is EndReason.STOPPED_BY_RESIDENT:
            return  # by this campaign, which has noted why
        if guest.habit is not None:
            self.judge_habit(event, guest, guest.habit)
            return
        error_s = expected.error_s(event.at_ns, event.reason)
        if error_s is None:
            self.problems.append(f"outlet {event.outlet}: {event.reason.value}, but {expected}")
        else:
            self.errors_s.append(abs(error_s))
            if abs(error_s) > TOLERANCE_S:
                self.problems.append(f"outlet {event.outlet}: {event.reason.value} {error_s:+.0f} s off: {expected}")

    # --- Actions of people -------------------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a charge: the bike is plugged in before or after the start, or never."""
        chance, sim = self.chance, self.sim
        guest = self.guests[number] = Guest(self.charger(), f"s{number}", self.bought())
        nobody = chance.random() < 0.03
        first = chance.random() < 0.5
        if nobody:
            guest.load = None
        if isinstance(guest.load, HabitLoad):
            guest.habit = self.habits[guest.load.name]
        if guest.load is not None and first:
            sim.world.plug(number, guest.load)
            self.watch(round(chance.uniform(0.01, 0.5) * NS))
        answer = sim.start(number, guest.session_id, guest.limits)
        if isinstance(answer, Refusal) and answer.code == "voltage_out_of_band" and self.brown_out_s_ago() < 90:
            self.go_on(90 * NS)  # the mains must be stable for a minute first
            answer = sim.start(number, guest.session_id, guest.limits)
        if not isinstance(answer, Done):
            self.problems.append(f"outlet {number}: refused: {answer}")
            return
        self.say(f"outlet {number}: {guest.load.name if guest.load else 'nothing'}, {guest.limits}")
        now_ns, truth = sim.clock.monotonic_ns(), sim.world.truth(number)
        guest.expected = Expected(Way(sim.config.charge, guest.limits, now_ns, truth.energy_mwh))
        if guest.load is not None and not first:
            self.watch(round(chance.uniform(0.01, 0.5) * NS))
            sim.world.plug(number, guest.load)
        self.watch(400 * MS)

    def charger(self) -> Load:
        chance, kind = self.chance, self.chance.random()
        if kind < 0.3:
            habit = random_habit(chance)
            name = f"{habit.name} {len(self.habits)}"
            self.habits[name] = habit
            return HabitLoad(name, habit.watts, step_s=HABIT_STEP_S)
        if kind < 0.6:
            return random_charger(chance, iron_share=IRON_SHARE)
        return Charger(chance.choice(list(HEALTHY)), chance.uniform(5, 90))

    def bought(self) -> ChargeLimits:
        kind = self.chance.random()
        if kind < 0.15:
            return ChargeLimits(charging_s=self.chance.randrange(600, 4 * 3600))
        if kind < 0.3:
            return ChargeLimits(energy_mwh=self.chance.randrange(50_000, 600_000))
        return ChargeLimits()

    def charging(self) -> list[int]:
        """Return the outlets with an active charge and a plug."""
        return [
            number
            for number, guest in self.guests.items()
            if guest.end is None and guest.expected is not None and guest.had_load and guest.suspended is None
            and self.sim.world.outlet(number).load is not None
        ]  # fmt: skip

    def replug(self) -> None:
        """Pull a plug, and push it in again before it counts as gone."""
        if not (charging := self.charging()):
            return
        number = self.chance.choice(charging)
        away_ns = round(MS * 10 ** self.chance.uniform(0.5, 4.5))  # 3 ms to 30 s
        self.say(f"outlet {number}: out for {away_ns / MS:.0f} ms")
        guest, load = self.guests[number], self.sim.world.unplug(number)
        self.pass_by(away_ns)
        self.sim.world.plug(number, load)
        self.watch(WATCHED_NS)
        if guest.expected is not None:
            guest.expected.disturbed()

    def bounce(self) -> None:
        if not (charging := self.charging()):
            return
        number = self.chance.choice(charging)
        load = self.guests[number].load
        self.say(f"outlet {number}: a bouncing plug of {load.name if load else 'no load'}")
        self.sim.world.fault(number, "hot_plug")
        self.watch(NS)
        expected = self.guests[number].expected
        assert expected is not None  # it is charging
        expected.disturbed()

    def wobble(self) -> None:
        """Make a plug loose for seconds."""
        if not (charging := self.charging()):
            return
        number = self.chance.choice(charging)
        seconds = self.chance.uniform(0.05, 5)
        self.say(f"outlet {number}: a loose plug for {seconds:.1f} s")
        self.loose = number
        self.sim.world.fault(number, "loose_plug", seconds=seconds)
        self.sim.run(round((seconds + 0.6) * NS))
        self.watch(NS)
        self.loose = None
        expected = self.guests[number].expected
        assert expected is not None  # it is charging
        expected.disturbed()

    def leave(self) -> None:
        """Pull a plug for good. During constant current the guard must detect it; near the end both reasons fit."""
        if not (charging := self.charging()):
            return
        number = self.chance.choice(charging)
        load = self.sim.world.unplug(number)
        steady = load.stage() == "constant current"
        self.guests[number].reasons = PULLED_OUT if steady else PULLED_OUT | BY_ITSELF
        self.say(f"outlet {number}: pulled for good from {load.stage()}")
        self.watch(1300 * MS)  # the meter's mean settles within a second, before the next stride

    def neighbour(self) -> None:
        """Plug a bike into an outlet without a charge."""
        free = [n for n in OUTLETS if n not in self.guests and self.sim.world.outlet(n).load is None]
        if free:
            number = self.chance.choice(free)
            self.sim.world.plug(number, self.charger())
            self.watch(WATCHED_NS)
            self.sim.world.unplug(number)

    def wander(self) -> None:
        """Change voltage and frequency within the range of the grid."""
        self.sim.world.set_mains(volts=self.chance.uniform(198, 242), frequency_hz=self.chance.uniform(49, 51))

    def brown_out(self) -> None:
        """Cut the mains: at its return all chargers draw inrush at once; if it lasted over a second, charges pause."""
        away_ns = round(MS * 10 ** self.chance.uniform(0.7, 4.5))  # 5 ms to 30 s
        self.say(f"mains away for {away_ns / MS:.0f} ms")
        self.sim.world.set_mains(cut=True)
        self.dark = True
        self.pass_by(away_ns)
        self.sim.world.set_mains(cut=False)
        self.watch(600 * MS)
        self.dark, self.dark_at_ns = False, self.sim.clock.monotonic_ns()
        for guest in self.guests.values():
            if guest.expected is not None:
                guest.expected.disturbed()

    def brown_out_s_ago(self) -> float:
        return (self.sim.clock.monotonic_ns() - self.dark_at_ns) / NS

    def pass_by(self, duration_ns: int) -> None:
        """Advance by `duration_ns`: the first 1.5 s at the full rate, the rest in strides of 1 s."""
        self.sim.run(min(duration_ns, 1500 * MS))
        if duration_ns > 1500 * MS:
            self.sim.stride(duration_ns - 1500 * MS, NS)
        self.look()

    def resume(self) -> None:
        """Do as the service does: resume suspended charges when the guard accepts them."""
        going_on = []
        for number, guest in self.guests.items():
            used = guest.suspended
            if used is None or self.sim.outlet(number).refusal is not None:
                continue
            command = Energise(
                10_000 + self.seen, number, guest.session_id, guest.limits,
                used.charging_ms, used.energy_mwh, used.powered_ms, guest.had_load,
            )  # fmt: skip
            if isinstance(self.sim.guard.handle(command), Done):
                self.say(f"outlet {number}: goes on")
                guest.suspended = None
                going_on.append(guest)
        self.sim.run(len(going_on) * CLOSING_NS)  # one after the other; in strides it would take minutes
        for guest in going_on:
            assert guest.expected is not None  # it was charging
            guest.expected.resumed(self.sim.clock.monotonic_ns(), guest.had_load)
        if going_on:
            self.go_on(SETTLE_S * NS, NS)


EVENTS = (Life.replug, Life.bounce, Life.neighbour, Life.wander, Life.brown_out)
LEAVES = 0.1  # share of all events with a plug pulled finally
LOUD_H = 12.0  # longer than any charge may last
WOBBLES = 0.02  # share of loose plugs: rare, because a cut ends the scenario and hides later events


def scenario(seed: int, verbose: bool, hours: float = MAX_H) -> Outcome:
    """Run one scenario, or its first `hours`."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        life = Life(Path(folder), chance, verbose)
        try:
            _live(life, chance, hours)
        finally:
            life.sim.close()
    return Outcome(
        seed,
        tuple(life.problems),
        len(life.guests),
        {"end off s": life.errors_s, "ends not judged": [float(life.unjudged)]},
    )


def _live(life: Life, chance: random.Random, hours: float) -> None:
    coming = chance.sample(list(OUTLETS), len(OUTLETS))
    end_ns = life.sim.clock.monotonic_ns() + round(hours * 3600 * NS)
    while life.sim.clock.monotonic_ns() < end_ns:
        life.go_on(round(min(3600.0, chance.expovariate(1 / (120.0 if coming else PAUSE_S))) * NS))
        life.watch(WATCHED_NS)
        if coming and chance.random() < 0.7:
            life.start(coming.pop())
        elif chance.random() < LEAVES:
            life.leave()
        elif chance.random() < WOBBLES:
            life.wobble()
        else:
            chance.choice(EVENTS)(life)
        if life.problems or (not coming and all(guest.end is not None for guest in life.guests.values())):
            return
    if hours == MAX_H:
        life.problems.append(f"after {MAX_H} h not all have ended")


CAMPAIGN = Campaign(
    name="nuisance",
    module="campaigns.nuisance",
    counted="charges",
    scenario=scenario,
    whole=200,
    quick=1,
    promise="no ordinary charge is cut for nothing, and each ends for the right reason within 2 minutes of its time",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
