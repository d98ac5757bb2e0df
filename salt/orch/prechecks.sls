#!yaml|phases
# Can every host run its services? A table of checks by host, with a remedy for each failure; nothing changes.
# docs/orchestration.md explains the phases.

Check the pillar and the secrets:
  rollout.validated: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Check the hosts:
  rollout.checked:
    - function: precheck.hosts
    - clock: True
    - deadline: 120
