# Remove old configuration generations and images that no container and no way back needs, on all hosts; test=True
# says which. docs/history.md explains it.

Check the pillar and the secrets:
  rollout.validated:
    - takes: [hosts, wait]
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

See that every host answers:
  rollout.preflight:
    - deadline: 120
    - failhard: True

Remove what nobody needs any more:
  rollout.pruned:
    - deadline: 900
    - failhard: True
