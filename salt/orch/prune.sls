#!yaml|phases
# Remove old configuration generations and images that no container and no way back needs, on all hosts; test=True
# says which. docs/history.md explains it.

Check the pillar and the secrets:
  rollout.validated:
    - takes: [hosts, wait]

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Remove what nobody needs any more:
  rollout.pruned:
    - deadline: 900
