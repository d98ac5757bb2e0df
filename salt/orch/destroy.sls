#!yaml|phases
# Remove containers, volumes with all data, and configuration; pillar, secrets and images stay.

Check the pillar and the secrets:
  rollout.validated:
    - takes: [services, hosts, wait, confirm]
    - anywhere: True

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Say what goes and what stays, and remove the services:
  rollout.destroyed:
    - deadline: 900
