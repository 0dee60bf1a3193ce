"""Temperature of the air inside the cabinet. Pure."""

from typing import Annotated

from cabinet.model import Fault, Quality
from cabinet.protections.inputs import CabinetInputs, CabinetProtection
from cabinet.sections import Section, number


class CabinetHotSection(Section, frozen=True):
    """The air inside too hot: all outlets and the contactor open, the siren sounds, latched."""

    ASCENDING = (("warn_c", "trip_c"),)
    trip_c: Annotated[float, number("all open", least=45, most=90)] = 65.0
    warn_c: Annotated[float, number("no new charges, and staff are warned", least=40, most=85)] = 55.0


class CabinetHot(CabinetProtection):
    """Trip on hot air inside. A lost thermometer only causes a warning: each outlet has its own thermometer."""

    fault = Fault.CABINET_HOT
    section = CabinetHotSection
    latched = True
    siren = True
    trip_mc: int
    warn_mc: int

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        inside = inputs.inside_mc
        if inside.quality is not Quality.OK or inside.value is None or inside.value < self.trip_mc:
            return None
        return {"temperature_mc": inside.value, "limit_mc": self.trip_mc}

    def warns(self, inputs: CabinetInputs) -> bool:
        return inputs.inside_mc.value is not None and inputs.inside_mc.value >= self.warn_mc

    def present(self, inputs: CabinetInputs) -> bool:
        return self.warns(inputs)
