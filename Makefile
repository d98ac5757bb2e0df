# Every target is one command; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup deploy demo demo-destroy test unit lint locks bench bench-scale bench-remediation soak tempest cluster cluster-test cluster-down upgrade-test clean

bin := .venv/bin
PROCESSES := 3
tiers := $(wildcard $(addprefix tests/,unit render functional orchestration cloud))

# Settings of set-up, passed on only when given to make itself: make setup ADDRESS=10.0.0.10
settings := $(foreach name,ADDRESS ID PUBLISH_PORT RET_PORT PYTHON,$(if $(filter \
    command%,$(origin $(name))),SALTERN_$(name)=$($(name))))

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Settings, kept for later runs: ADDRESS=127.0.0.1 (management) ID=aio PUBLISH_PORT=4505 RET_PORT=4506"

setup:  ## prepare this machine: packages, Docker, virtualenv, Salt master and minion
	@env $(settings) setup/setup

deploy: setup  ## a cloud on this machine: set-up, images, services, catalogue
	@$(bin)/salt-run saltern.genpwd
	@$(bin)/salt-run image.build
	@$(bin)/salt-run state.orchestrate orch.deploy
	@$(bin)/salt-run state.orchestrate orch.post_deploy

demo: setup  ## first steps in the deployed cloud: boot an instance, fetch a page from it
	@$(bin)/salt-run image.build demo
	@$(bin)/salt-run state.orchestrate orch.demo

demo-destroy: setup  ## remove what the demo has made
	@$(bin)/salt-run state.orchestrate orch.demo_destroy

test: setup  ## all tests, three tiers at a time (PROCESSES=1: one after the other; set-up and images included)
	@$(bin)/salt-run image.build
	@$(bin)/pytest $(if $(filter-out 1,$(PROCESSES)),-n $(PROCESSES) --dist loadscope --no-loadscope-reorder) \
	    -m "not clusters and not index and not upgrades" $(tiers) $(ARGS)

unit: .venv  ## the tests of the pure library, in seconds
	@$(bin)/pytest -q tests/unit $(ARGS)

lint: .venv  ## ruff, yamllint, salt-lint, and who imports whom
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/yamllint --strict .
	@git ls-files --cached --others --exclude-standard '*.sls' | xargs -r $(bin)/salt-lint
	@PYTHONPATH=_utils $(bin)/lint-imports --no-cache --no-logo

locks: setup  ## does each lock of images/locks have all that each image needs? asks the index of Python packages
	@$(bin)/salt-run image.build openstack-builder
	@$(bin)/pytest -m index tests/functional $(ARGS)

bench: setup  ## measure; writes build/bench.json
	@mkdir -p build
	@$(bin)/python tests/bench/run.py

bench-scale: .venv  ## measure one pillar at up to 10,000 hosts, and 100 hosts of one master; adds to build/bench.json (HOSTS="3 10")
	@$(bin)/python tests/bench/scale.py $(HOSTS)

bench-remediation: .venv  ## from a fault of a container to its health; adds to build/bench.json
	@$(bin)/python tests/bench/remediation.py

soak: demo  ## use the deployed cloud without pause (MINUTES=60); adds to build/bench.json
	@mkdir -p build
	@$(bin)/python tests/bench/soak.py $(or $(MINUTES),60)

tempest: demo  ## OpenStack's own tests against the deployed cloud (AREAS="identity image")
	@$(bin)/salt-run image.build tempest
	@$(bin)/python tests/tempest/run.py $(AREAS)

cluster: setup  ## a test bed: hosts in containers on this machine (CLUSTER=file; docs/cluster.md)
	@$(bin)/salt-run image.build testbed-bare testbed-host registry keepalived
	@$(bin)/python -m tests.cluster up

cluster-test: setup  ## the tests that need several hosts, on the test bed (images included)
	@$(bin)/salt-run image.build
	@$(bin)/salt-run image.build demo
	@$(MAKE) --no-print-directory cluster
	@$(bin)/pytest -m clusters tests/functional tests/cluster $(ARGS)

upgrade-test: setup  ## upgrades that fail, with small images; then a new all-in-one under load (RELEASES="2026.1 2026.2")
	@CONFIRM=$(CONFIRM) $(bin)/pytest -m upgrades tests/orchestration tests/upgrade $(ARGS)

cluster-down: .venv  ## remove the test bed
	@$(bin)/python -m tests.cluster down

clean:  ## take away all that set-up and deploy made (CONFIRM=yes)
	@env $(settings) CONFIRM=$(CONFIRM) setup/clean

.PHONY: .venv
.venv:
	@env $(settings) setup/setup virtualenv
