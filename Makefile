# make run    the whole cabinet, simulated, until Ctrl-C       make test   everything that must be green
# make        lint and quick tests                             make wheel  what is installed on a Pi
# make fleet  a fleet with three simulated cabinets, until Ctrl-C (PostgreSQL and mosquitto; as root it installs them)
# make screenshots   a picture of every page, in build/screenshots/
# make test-vm       the package in a virtual machine (root, Debian 12, QEMU; four to five hours): docs/reports/vm.md;
#                    ARCH=arm64, RELEASE=trixie and SCENARIOS="short panic" choose others, or single scenarios
# make test-arm64    the arm64 package under user emulation, in minutes (root, qemu-user-static)
# make deb    Debian packages for a Pi (arm64) and for a PC (amd64), in dist/; one only: make deb ARCH=arm64
# make fleet-deb     the same of the fleet

PYTHON ?= python3
BIN := .venv/bin

# Without bytecode on disk, every process of a test compiles the source again: 0.3 s of each, and 10 s of each pytest.
unexport PYTHONDONTWRITEBYTECODE

# `run` needs the product only, `test` the tools too; a stamp makes the second time start at once.
BUILT_FROM := setup.cfg pyproject.toml frontend/package-lock.json $(wildcard frontend/src/* tools/*.py)
BENCHES := demo failsafe fleet footprint scan trip uplink_storm usage wear web
READY_TO_RUN := .venv/ready-to-run
READY_TO_TEST := .venv/ready-to-test

.PHONY: fuzz-api quick run fleet test lint format wheel deb fleet-deb test-vm test-arm64 bench campaign screenshots clean

quick: lint
	$(BIN)/pytest -n auto --dist loadfile -m "not slow" tests/unit tests/test_architecture.py

run: $(READY_TO_RUN)
	@$(BIN)/cabinet run

# The whole cabinets run two at a time, because their processes are real and mostly wait; the other tests use what they
# leave of the cores.
fleet: $(READY_TO_TEST)
	@$(BIN)/python -m tools.get_fleet
	@$(BIN)/python -m cabinet_testing.fleet_demo

test: lint
	@$(BIN)/python -m tools.get_browser
	@$(BIN)/python -m tools.get_fleet
	@$(BIN)/python -m tools.get_terminals
	$(BIN)/python tools/run_tests.py

lint: $(READY_TO_TEST)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY_TO_TEST)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: $(READY_TO_RUN)
	$(BIN)/python -m pip wheel -qq --no-deps --wheel-dir dist .

deb: $(READY_TO_TEST) wheel
	for arch in $(or $(ARCH),amd64 arm64); do $(BIN)/python tools/build_deb.py --arch $$arch || exit 1; done

fleet-deb: $(READY_TO_TEST) wheel
	for arch in $(or $(ARCH),amd64 arm64); do $(BIN)/python tools/build_fleet_deb.py --arch $$arch || exit 1; done

test-vm: $(READY_TO_TEST)
	$(BIN)/python -m vm $(if $(ARCH),--arch $(ARCH)) $(if $(RELEASE),--release $(RELEASE)) $(SCENARIOS)

test-arm64: $(READY_TO_TEST)
	$(BIN)/python -m vm.arm64_root

bench: $(READY_TO_TEST)
	@$(BIN)/python -m tools.get_fleet
	for name in $(BENCHES); do echo "== bench.$$name"; $(BIN)/python -m bench.$$name || exit 1; done

campaign: $(READY_TO_TEST)
	$(BIN)/python -m campaigns

screenshots: $(READY_TO_TEST)
	@$(BIN)/python -m tools.get_browser
	$(BIN)/python -m cabinet_testing.screenshots

# The API against its own description, and anything against every route, longer than in the tests.
fuzz-api: $(READY_TO_TEST)
	API_EXAMPLES=$${API_EXAMPLES:-2000} $(BIN)/pytest tests/unit/web/test_api_schema.py tests/unit/web/test_fuzz.py

clean:
	rm -rf .venv build dist *.egg-info var frontend/node_modules cabinet/web/static/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY_TO_RUN): $(BUILT_FROM)
	@$(PYTHON) tools/make_venv.py .venv
	@echo "installing the cabinet into .venv (once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable .
	@$(BIN)/python tools/bundle.py > /dev/null || true
	@touch $@

$(READY_TO_TEST): $(BUILT_FROM)
	@$(PYTHON) tools/make_venv.py .venv
	@echo "installing the cabinet and its test tools into .venv (once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[test,dev,fleet]'
	@$(BIN)/python tools/bundle.py > /dev/null || true
	@touch $(READY_TO_RUN) $@
