# Everything a checkout needs; .ci/run calls `make test`. Paths are relative, so a space in the checkout's path is harmless.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup run test servers fuzz lint types imports pytest lock config docs wheel bench-intake bench-memory bench-capacity bench-cmdb bench-grouping bench-causes bench-correlation bench-learning bench-replay bench-rules bench-sinks bench-topology bench-cmdb-sync bench-collectors bench-prediction bench-detectors

BIN := .venv/bin
heading = @printf '\n==> %s\n' '$(1)'

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 15

setup: ## .venv with the locked packages and this checkout (PYTHON=... chooses the interpreter)
	@requirements/install

run: setup ## start Foreshock
	@exec $(BIN)/foreshock run --watch-host

test: ## servers, lint, types, imports, pytest: what CI runs
	@$(MAKE) setup
	@$(MAKE) servers
	@$(MAKE) lint
	@$(MAKE) types
	@$(MAKE) imports
	@$(MAKE) pytest

servers: setup ## the real servers the tests start, from Debian's packages
	$(call heading,servers for the tests)
	@$(BIN)/python tests/install-servers

lint: setup ## ruff: rules and format
	$(call heading,ruff check)
	@$(BIN)/ruff check .
	$(call heading,ruff format --check)
	@$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(call heading,mypy)
	@$(BIN)/mypy

imports: setup ## who may import whom
	$(call heading,lint-imports)
	@$(BIN)/lint-imports

# Three processes, whatever the machine has: the tests wait for servers as often as they compute. Named tests run in one.
pytest: setup ## the tests, in three processes; ARGS='-k name' runs some of them, in one
	$(call heading,pytest)
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses=3 --dist=loadfile)

fuzz: setup ## 10,000 examples for each collector, then fuzzing with coverage; FORESHOCK_FUZZ_EXAMPLES, _SECONDS (each target) change it
	$(call heading,generated examples)
	@FORESHOCK_FUZZ_EXAMPLES=$${FORESHOCK_FUZZ_EXAMPLES:-10000} $(BIN)/python -m pytest -q --timeout=1800 \
		-k 'anything_changed or any_payload or whatever_is_changed or any_octets' \
		tests/collectors/test_contract.py tests/connect/test_mapping.py tests/fuzz
	$(call heading,fuzzing with coverage)
	@$(BIN)/python tests/fuzz/run.py $(ARGS)

soak: setup ## Foreshock killed 1000 times under load; FORESHOCK_KILLS=... and FORESHOCK_KILL_SEED=... change it
	$(call heading,kills under load)
	@FORESHOCK_KILLS=$${FORESHOCK_KILLS:-1000} $(BIN)/python -m pytest tests/system/test_kill.py $(ARGS)

soak-sinks: setup ## every ITSM system at once, failing: 10 rounds of 2000 situations and 20 kills; FORESHOCK_SOAK_ROUNDS, _SITUATIONS, _KILLS, _SEED
	$(call heading,tickets under faults)
	@FORESHOCK_SOAK_ROUNDS=$${FORESHOCK_SOAK_ROUNDS:-10} FORESHOCK_SOAK_SITUATIONS=$${FORESHOCK_SOAK_SITUATIONS:-2000} \
		FORESHOCK_SOAK_KILLS=$${FORESHOCK_SOAK_KILLS:-20} $(BIN)/python -m pytest tests/system/test_sink_soak.py $(ARGS)

COMPILE := requirements/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	--universal $(if $(UPGRADE),--upgrade)

lock: ## write requirements/*.txt anew from pyproject.toml; UPGRADE=1 moves to the newest versions
	@test -x $(BIN)/uv || $(MAKE) setup
	@$(COMPILE) --group dev pyproject.toml -o requirements/dev.txt
	@$(COMPILE) -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	@echo uv | $(COMPILE) -c requirements/dev.txt - -o requirements/bootstrap.txt
	@sed -i '1i # Written by `make lock` from pyproject.toml; `make lock UPGRADE=1` moves to the newest versions.' \
		requirements/dev.txt requirements/run.txt requirements/bootstrap.txt
	@! grep -nE 'https?://|^--' requirements/*.txt

config: setup ## write config/foreshock.example.yaml and .schema.json anew from the settings' models
	@$(BIN)/python -m foreshock.service.settings_files

docs: setup ## write docs/connect/*.md and docs/configuration.md anew from the code
	@$(BIN)/python -m foreshock.service.reference

wheel: setup ## dist/foreshock-*.whl
	@$(BIN)/python -m build --wheel --no-isolation

bench-intake: setup ## CPU, answers and losses beside Alertmanager, in turn; ARGS='--reps 3' changes it
	@$(BIN)/python benchmarks/intake.py $(ARGS)

bench-memory: setup ## memory per active alert, and seconds to ready with 10,000 of them
	@$(BIN)/python benchmarks/memory.py $(ARGS)

bench-correlation: setup ## price beside Alertmanager, delay, a storm, quality; ARGS='--quick' for a look
	@$(BIN)/python benchmarks/correlation.py $(ARGS)

bench-cmdb: setup ## how soon a change of a large CMDB is in force, step by step, and what a year of its versions takes on disk
	@$(BIN)/python benchmarks/cmdb.py $(ARGS)

bench-replay: setup ## how fast history is replayed and planned over, and in how much memory
	@$(BIN)/python benchmarks/replay.py $(ARGS)

bench-rules: setup ## how long checking 500 rules and playing 200 cases takes
	@$(BIN)/python benchmarks/rules.py $(ARGS)

bench-sinks: setup ## tickets a second by connections, from an event to the request, beside a dead sink
	@$(BIN)/python benchmarks/sinks.py $(ARGS)

bench-topology: setup ## 100,000 CIs: building, changing, asking and binding, beside networkx
	@$(BIN)/python benchmarks/topology.py $(ARGS)
	@$(BIN)/python benchmarks/topology_versions.py

bench-cmdb-sync: setup ## seconds and memory of reading 100,000 CIs and 400,000 relationships from ServiceNow's stand-in
	@$(BIN)/python benchmarks/cmdb_sync.py $(ARGS)

bench-learning: setup ## what learning from history is worth on later alerts
	@$(BIN)/python benchmarks/learning.py $(ARGS)

bench-grouping: setup ## how well alerts become incidents, where the truth is known
	@$(BIN)/python benchmarks/grouping.py $(ARGS)

bench-causes: setup ## how often the cause of a recorded incident is found, given its window
	@$(BIN)/python benchmarks/causes.py $(ARGS)

bench-capacity: setup ## how early it is said that something fills up, and how often for nothing, beside predict_linear
	@$(BIN)/python benchmarks/capacity.py $(ARGS)

bench-detectors: setup ## what each detector tells of quiet metrics and of planted changes, and what it costs
	@$(BIN)/python benchmarks/detectors.py $(ARGS)

bench-prediction: setup ## incidents foreseen, and anomalies found, in public data, beside baselines and other detectors
	@$(BIN)/python benchmarks/prediction.py $(ARGS)
	@$(BIN)/python benchmarks/detection.py

bench-collectors: setup ## what collectors take in a second and what it costs, beside peers: each benchmarks/collectors_*.py
	@for part in benchmarks/collectors_*.py; do echo; echo "$$part"; $(BIN)/python $$part || exit 1; done
