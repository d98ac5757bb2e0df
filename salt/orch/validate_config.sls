#!yaml|phases
# Check the wanted configuration with each service's own checker, in its image; nothing that runs takes it.

Check the pillar and the secrets:
  rollout.validated: []

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Run the services' own checkers:
  rollout.checked:
    - function: precheck.config
    - deadline: 900
