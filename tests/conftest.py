"""Fixtures and settings shared by all tests."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from cabinet_testing.prepared_cabinets import Prepared, PreparedCabinets, prepared_cabinets

settings.register_profile("cabinet", deadline=None)  # a busy build machine is no failure
settings.load_profile("cabinet")


@pytest.fixture(scope="module")
def module_cabinets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedCabinets]:
    with prepared_cabinets(tmp_path_factory.mktemp("cabinets")) as cabinets:
        yield cabinets


@pytest.fixture
def prepared(request: pytest.FixtureRequest, module_cabinets: PreparedCabinets) -> Prepared:
    """Maker of simulated cabinets, booted and after the steps of the test's marks `after`; the test runs in a fork."""
    marks = reversed(list(request.node.iter_markers("after")))
    return Prepared(
        module_cabinets, tuple((mark.args[0], mark.args[1:], tuple(sorted(mark.kwargs.items()))) for mark in marks)
    )


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection: they stay to the end, and each full pass visits all of them.

    Of the 75 s of processor that 184 tests took, 16 s were such passes.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with prepared cabinets in a fork, because the next test gets the same ones."""
    if "prepared" not in pyfuncitem.fixturenames:
        return None
    cabinets = pyfuncitem.funcargs["module_cabinets"]
    assert isinstance(cabinets, PreparedCabinets)
    words = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    failure = cabinets.in_child(
        lambda: pyfuncitem.obj(**words),
        lambda: str(pyfuncitem.repr_failure(pytest.ExceptionInfo.from_current())),
    )
    if failure:
        pytest.fail(failure, pytrace=False)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test that prints has measured something: shown also when it passed."""
    measured = [report for report in terminalreporter.getreports("passed") if report.capstdout]
    if measured:
        terminalreporter.section("measured")
    for report in measured:
        terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}: {report.capstdout.strip()}")
