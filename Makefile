# Every target sets up what it needs (tools/bootstrap: nothing to do when all is there).
#
# PYTHON: which Python, such as 3.15 or 3.14-dbg; empty: the one that tools/bootstrap finds.
# WHEEL:  make test WHEEL=1 runs the tests against a wheel, in an environment of its own.
# ARGS:   more arguments for pytest, the demo or the benchmarks: make test ARGS="-k map"
# SECONDS: for how long chaos goes on.
# All are taken from make's command line only, not from the environment.
PYTHON :=
WHEEL :=
ARGS :=
SECONDS := 60

# Relative, so that the checkout's path may have spaces.
VENV = .venv/$(or $(PYTHON),default)$(if $(WHEEL),-wheel)
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help bootstrap browser demo test chaos coverage lint format docs bench package compatibility \
    clean

help: ## this list
	@echo 'make TARGET [PYTHON=3.15] [ARGS="..."]'
	@sed -n -E 's/^([a-z]+):.*## (.*)/  \1|\2/p' Makefile | awk -F '|' '{ printf "%-17s%s\n", $$1, $$2 }'

bootstrap: ## bring Python, the environment and the tools
	@tools/bootstrap $(if $(PYTHON),--python $(PYTHON)) $(if $(WHEEL),--wheel) </dev/null

demo: bootstrap ## measure the standard library's own source, on every core
	@$(BIN)/python examples/demo.py $(ARGS)

browser: ## bring a browser without a screen, for the tests of the report
	@tools/browser </dev/null

# Those of the report need a browser, and say so where none can be had.
test: bootstrap ## run all tests (WHEEL=1: of the package as users install it)
	@tools/browser </dev/null >/dev/null || true
	@$(BIN)/python -m pytest $(ARGS)

chaos: bootstrap ## everything at once, at random (SECONDS=600; ARGS="--seed 7"; PYTHON=3.14-dbg: with CPython's assertions)
	@$(BIN)/python tests/chaos.py --seconds $(SECONDS) $(ARGS)

coverage: bootstrap ## run all tests, and report what of the main interpreter's half they reach
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage report

lint: bootstrap ## check style, types and shell scripts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/shellcheck -x tools/bootstrap tools/browser .ci/run

format: bootstrap ## bring the source into its format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

# The theme would advertise its successor at every build.
docs: bootstrap ## build the site of docs/ into build/site; whatever is amiss in it is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)
	@echo 'build/site/index.html'

# One after the other, for two that measure at once measure each other.
BENCHMARKS := limits queues command_line compare scaling_workers scaling_tasks tail loop_pauses web

bench: bootstrap ## measure, and write docs/figures: half an hour (ARGS=--quick: 3 minutes; --render: no measuring)
	@for name in $(BENCHMARKS); do \
	    echo "=== $$name" >&2; $(BIN)/python benchmarks/$$name.py $(ARGS) || exit; \
	done

package: bootstrap ## build what is published, an sdist and a wheel, into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist

compatibility: bootstrap ## examine the most downloaded packages, and write docs/compatibility.md: by hand, an hour
	@$(BIN)/python tools/compatibility.py $(ARGS)

clean: ## remove all that was made here: environments, Pythons, caches
	rm -rf .venv .python build dist htmlcov .coverage .coverage.* \
	    .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
