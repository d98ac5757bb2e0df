#!yaml|phases
# Bring every host the images of its services, so that a deployment does not wait for the registry.

Check the pillar and the secrets:
  rollout.validated:
    - maintenance: heed
    - next: "salt-run state.orchestrate orch.deploy"

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Pull the images by digest:
  rollout.pulled:
    - serial: 10
    - deadline: 3600
