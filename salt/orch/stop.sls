#!yaml|phases
# Stop the containers of all services, or of those that the command names; orch.deploy starts them again.

Check the pillar and the secrets:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.deploy starts them again"

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Stop the services:
  rollout.called:
    - function: saltern.stop
    - deadline: 900
