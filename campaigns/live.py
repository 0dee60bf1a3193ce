"""A real cabinet with the bikes of four residents charging, for campaigns that disturb its processes."""

import random
from collections.abc import Callable

from cabinet.model import Fault
from cabinet.sim.control import SimControl
from cabinet_testing.real_cabinet import RealCabinet, Resident, wait_for

CODES = {1: "A7K2", 4: "D8R6", 6: "F9H3", 9: "J3X2"}

Say = Callable[[str], None]


class Live:
    """The charges of the four residents; `problems` collects the deviations."""

    def __init__(self, cabinet: RealCabinet, chance: random.Random, say: Say) -> None:
        self.cabinet = cabinet
        self.chance = chance
        self.say = say
        self.problems: list[str] = []
        self.figures: dict[str, list[float]] = {}
        self.residents: dict[int, Resident] = {}
        self.pages: dict[int, str] = {}  # by outlet: path of the charge's page

    def start(self, load: str = "lead-acid-48v20ah") -> None:
        for outlet in CODES:
            percent = None if load.startswith("resistor") else self.chance.uniform(10, 60)
            self.cabinet.plug(outlet, load, percent)
            self.residents[outlet] = self.cabinet.resident(f"5000000{outlet}", balance_yuan="200.00")
            self.charge(outlet)
        self.all_charge()

    def charge(self, outlet: int) -> None:
        self.pages[outlet] = self.residents[outlet].start(CODES[outlet]).url.path

    def all_charge(self) -> None:
        wait_for("four charges", lambda: all(self.cabinet.phase(n) == "charging" for n in CODES) and self.all_closed())

    def all_closed(self) -> bool:
        """Return whether all contacts are closed; a resumed charge has its phase already before it closes."""
        outlets = self.cabinet.sim_state()["outlets"]
        return all(outlet["contacts_closed"] for outlet in outlets if outlet["outlet"] in CODES)

    def end(self, lost_mwh: float) -> None:
        """Stop all charges and check the bills: never above the delivered energy, and below by at most `lost_mwh`."""
        for outlet, path in self.pages.items():
            resident = self.residents[outlet]
            resident.send(resident.client.get(path), f"{path}/stop")
        wait_for("all records", lambda: not any(self.cabinet.outlet(n).closed for n in CODES) and self.all_settled())
        usage = self.cabinet.usage()
        for outlet in CODES:
            billed_mwh = sum(record["energy_mwh"] for record in usage if record["outlet"] == outlet)
            truth_mwh = self.cabinet.truth_mwh(outlet)
            self.figures.setdefault("not billed mWh", []).append(truth_mwh - billed_mwh)
            if not truth_mwh - lost_mwh < billed_mwh <= truth_mwh + 1:
                self.problems.append(f"outlet {outlet}: billed {billed_mwh} mWh of {truth_mwh:.0f}")
        if "OK" not in self.cabinet.command("usage", "verify"):
            self.problems.append("the usage log does not verify")

    def all_settled(self) -> bool:
        return all("/stop" not in self.residents[n].client.get(path).text for n, path in self.pages.items())

    # --- Readings ----------------------------------------------------------------------------------------------------

    def last_seq(self) -> int:
        return int(self.cabinet.journal()[-1]["seq"])

    def opened(self, seq: int) -> set[int]:
        return {r["outlet"] for r in self.cabinet.journal(seq) if r["kind"] == "contacts_opened"}

    def fault_of(self, outlet: int) -> Fault | None:
        if self.cabinet.phase(outlet) == "no guard":
            return None
        return self.cabinet.outlet(outlet).fault

    def sim(self, act: Callable[[SimControl], object]) -> None:
        with SimControl(self.cabinet.run / "sim-control.sock") as control:
            act(control)

    def let_pass(self, seconds: float) -> None:
        """Wait for `seconds`: a random time is intended, so there is no event to wait for."""
        end_ms = self.cabinet.now_ms() + 1000 * seconds
        wait_for("a moment", lambda: self.cabinet.now_ms() >= end_ms)
