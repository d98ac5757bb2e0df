#!yaml|phases
# Make bare hosts the cloud's: Docker, kernel settings, names, clock and a Salt minion, over SSH. Those that have
# `ssh` in saltern:hosts; repeatable. docs/hosts.md explains what is done.

Check the pillar:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.prechecks checks the hosts, salt-run state.orchestrate orch.deploy installs them"
    - with_secrets: False

Take the lock of the cloud:
  rollout.locked: []

Reach the hosts by SSH:
  rollout.reached: []

Prepare the hosts:
  rollout.prepared:
    - sls: bootstrap

Accept the minions' keys by fingerprint:
  rollout.accepted: []

Install the extension modules:
  rollout.preflight:
    - deadline: 120
