# Bring changed configuration and container options to services that run; new images and services that do not
# run yet are left to orch.deploy, and named.

Check the pillar and the secrets:
  rollout.validated:
    - next: "salt-run saltern.status shows what runs"
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

Ask every host what would change:
  rollout.planned:
    - deadline: 600
    - failhard: True

Decide who forms which cluster:
  rollout.clustered:
    - only: configuration
    - deadline: 300
    - patience: 60
    - failhard: True

Apply the changes of configuration, service by service:
  rollout.applied:
    - only: configuration
    - deadline: 1800
    - failhard: True
