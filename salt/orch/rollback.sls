#!yaml|phases
# Bring services back to what they ran before their last change: pillar='{"services": ["glance"]}'; without a service,
# those of an upgrade that is not finished. docs/upgrade.md.

Check the pillar and the secrets:
  rollout.validated:
    - maintenance: refuse
    - takes: [services, wait]

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Bring the services back:
  upgrade.rolled_back:
    - deadline: 1800
