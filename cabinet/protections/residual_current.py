"""Residual current, found by a monitor with an alarm contact. Pure."""

from typing import Annotated

from cabinet.model import Fault
from cabinet.protections.alarm_contacts import AlarmContact
from cabinet.protections.inputs import CabinetInputs
from cabinet.sections import Section, number


class ResidualCurrentSection(Section, frozen=True):
    """Residual current, if a detector is fitted: current that does not return flows to earth. All open, latched."""

    test_every_s: Annotated[
        float, number("the monitor is tested so often, and at each start", least=3600, most=604_800)
    ] = 86_400.0
    test_s: Annotated[float, number("the monitor answers its test within", least=0.05, most=2)] = 0.3


class ResidualCurrent(AlarmContact):
    """Trip on the monitor's alarm, or if the monitor failed its test: residual current would then go undetected."""

    fault = Fault.RESIDUAL_CURRENT
    section = ResidualCurrentSection
    test_every_ns: int
    test_ns: int
    least_ns = 2_000_000  # confirmed by a second reading: the monitor has its own delay, 40 ms at 150 mA

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        return {"test_failed": 1} if inputs.residual_test_failed else super().step(inputs)

    def present(self, inputs: CabinetInputs) -> bool:
        return inputs.residual is True and not inputs.residual_testing
