"""View of the bus for people: answering chips, failures and their counts, and registers as last read.

It needs no transfer and waits for nothing: all of it is in the loop's memory.
"""

from cabinet.guard.scan import Scanner
from cabinet.guard.segment import Segment
from cabinet.hardware.ade7953 import NAME as METER
from cabinet.hardware.ade7953 import Ade7953
from cabinet.hardware.tmp102 import NAME as THERMOMETER
from cabinet.hardware.tmp102 import Tmp102
from cabinet.link.guard_protocol import BusView, ChipView, ScanView, SegmentView


def bus_view(scanner: Scanner, numbers: list[int], expanders_down: list[int], now_ns: int) -> BusView:
    """Build the view. `numbers` are the outlets' numbers in the guard's order."""
    inside = scanner.slow.inside
    return BusView(
        at_ns=now_ns,
        segments=[_segment(segment, numbers) for segment in scanner.segments],
        upstream=[] if inside is None else [_thermometer(inside.chip)],
        expanders_down=expanders_down,
        errors=scanner.bus_errors,
        scan=ScanView() if scanner.prober is None else scanner.prober.view(),
    )


def _segment(segment: Segment, numbers: list[int]) -> SegmentView:
    port = segment.chip.port
    assert port.mux is not None  # a meter is always behind one
    assert port.channel is not None
    return SegmentView(
        name=segment.name,
        mux=port.mux,
        channel=port.channel,
        up=segment.up,
        errors=dict(segment.errors),
        last_error=segment.last_error,
        last_error_ns=segment.last_error_ns,
        chips=[_meter(segment.chip), *(_thermometer(each.chip) for each in segment.thermometers)],
        inputs={input_.name: numbers[input_.index] for input_ in segment.inputs},
        feed_input=segment.feed_input,
    )


def _meter(chip: Ade7953) -> ChipView:
    return ChipView(METER, chip.port.address, chip.port.mux, chip.port.channel, chip.raw())


def _thermometer(chip: Tmp102) -> ChipView:
    return ChipView(THERMOMETER, chip.port.address, chip.port.mux, chip.port.channel, chip.raw())
