# Make bare hosts the cloud's: Docker, kernel settings, names, clock and a Salt minion, over SSH. Those that have
# `ssh` in saltern:hosts; repeatable. docs/hosts.md explains what is done.

Check the pillar:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.prechecks checks the hosts, salt-run state.orchestrate orch.deploy installs them"
    - with_secrets: False
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

Reach the hosts by SSH:
  rollout.reached:
    - failhard: True

Prepare the hosts:
  rollout.prepared:
    - sls: bootstrap
    - failhard: True

Accept the minions' keys by fingerprint:
  rollout.accepted:
    - failhard: True

Install the extension modules:
  rollout.preflight:
    - deadline: 120
    - failhard: True
