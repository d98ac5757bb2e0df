#!yaml|phases
# Bring every host to what the pillar says; where nothing differs, nothing is touched.
# docs/orchestration.md explains the phases.

Check the pillar and the secrets:
  rollout.validated:
    - maintenance: heed
    - next: "salt-run saltern.status shows what runs"
    - takes: [services, hosts, wait, plan]

Take the lock of the cloud:
  rollout.locked: []

Pull the images that are missing:
  rollout.pulled:
    - missing: True
    - serial: 10
    - deadline: 3600

Ask every host what would change:
  rollout.planned:
    - deadline: 600
    - same_release: True

Decide who forms which cluster:
  rollout.clustered:
    - deadline: 300
    - patience: 60

Apply the changes, service by service:
  rollout.applied:
    - deadline: 1800
