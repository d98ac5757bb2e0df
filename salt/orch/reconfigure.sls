#!yaml|phases
# Bring changed configuration and container options to services that run; new images and services that do not
# run yet are left to orch.deploy, and named.

Check the pillar and the secrets:
  rollout.validated:
    - maintenance: heed
    - next: "salt-run saltern.status shows what runs"

Take the lock of the cloud:
  rollout.locked: []

Ask every host what would change:
  rollout.planned:
    - deadline: 600

Decide who forms which cluster:
  rollout.clustered:
    - only: configuration
    - deadline: 300
    - patience: 60

Apply the changes of configuration, service by service:
  rollout.applied:
    - only: configuration
    - deadline: 1800
