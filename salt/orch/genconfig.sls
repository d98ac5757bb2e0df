#!yaml|phases
# Write the configuration of every service beside the one in use, and show where and what differs; nothing restarts.

Check the pillar and the secrets:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.deploy brings it to the services"

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Write the configuration:
  rollout.called:
    - function: saltern.genconfig
    - deadline: 600
