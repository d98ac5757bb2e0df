# Bring every host to what the pillar says; where nothing differs, nothing is touched.
# docs/orchestration.md explains the phases.

Check the pillar and the secrets:
  rollout.validated:
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

Ask every host what would change:
  rollout.planned:
    - deadline: 600
    - failhard: True

Decide who forms which cluster:
  rollout.formed:
    - deadline: 300
    - failhard: True

Apply the changes, service by service:
  rollout.applied:
    - deadline: 1800
    - failhard: True
