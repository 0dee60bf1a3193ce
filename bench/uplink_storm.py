"""The guard's lateness beside an uplink that reconnects in a storm, and without one, alternately in one run.

python -m bench.uplink_storm [--rounds 4] [--seconds 15]

The storm: the link is cut as soon as it is made, and the uplink is started again each three seconds, so its pauses
never grow. The guard runs in real time at its full rate; the figure is the worst lateness of a tick in each tenth of a
second.
"""

import argparse
import statistics
import threading
import time

from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Role
from cabinet.system.run_folder import guard_socket
from cabinet_testing import fleet_site
from cabinet_testing.fault_proxy import FaultProxy
from cabinet_testing.fleet_scene import TARIFF
from cabinet_testing.fleet_site import FleetCabinet, FleetSite
from campaigns.runner import commit, machine, percentile

AGAIN_S = 3.0
CUT_EACH_S = 0.05
SAMPLE_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="of each (default: 4)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of a round (default: 15)")
    args = parser.parse_args()
    if reason := fleet_site.missing():
        raise SystemExit(reason)
    print(f"{machine()}, commit {commit()}")
    with fleet_site.temporary_folder() as folder:
        site = FleetSite(folder, safe=False)
        try:
            site.start()
            site.add_company(TARIFF)
            cabinet = site.add_cabinet(1)
            link = cabinet.put_link(site.broker.port)
            measure(cabinet, link, args.rounds, args.seconds)
            link.stop()
        finally:
            site.stop()


def measure(cabinet: FleetCabinet, link: FaultProxy, rounds: int, seconds: float) -> None:
    late_us: dict[str, list[int]] = {"without": [], "storm": []}
    for _ in range(rounds):
        cabinet.processes.pop("uplink").stop()
        late_us["without"] += lateness_us(cabinet, seconds)
        cabinet.start_uplink()
        over, connections = threading.Event(), link.connections
        storm = threading.Thread(target=_storm, args=(cabinet, link, over))
        storm.start()
        late_us["storm"] += lateness_us(cabinet, seconds)
        over.set()
        storm.join()
        print(f"{link.connections - connections} connections in a storm of {seconds:.0f} s")
    for name, values in late_us.items():
        ordered = sorted(values)
        print(
            f"{name:8} lateness of a tick: median {statistics.median(ordered)} us,"
            f" p99 {percentile(ordered, 0.99)} us, worst {ordered[-1]} us ({len(ordered)} samples)"
        )
    ratio = statistics.median(late_us["storm"]) / max(1, statistics.median(late_us["without"]))
    print(f"median with the storm over without: {ratio:.2f}")


def lateness_us(cabinet: FleetCabinet, seconds: float) -> list[int]:
    found = []
    with BlockingGuard(guard_socket(cabinet.run), Role.VIEWER) as guard:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(SAMPLE_S)
            found.append(guard.snapshot().health.late_worst_us)
    return found


def _storm(cabinet: FleetCabinet, link: FaultProxy, over: threading.Event) -> None:
    again_s = time.monotonic() + AGAIN_S
    while not over.wait(CUT_EACH_S):
        link.cut()
        if time.monotonic() > again_s:
            cabinet.processes.pop("uplink").kill()
            cabinet.start_uplink()
            again_s = time.monotonic() + AGAIN_S


if __name__ == "__main__":
    main()
