#!yaml|phases
# Make missing certificates, renew those that expire within `days` (30; pillar='{"days": 60}'), and deliver them:
# nothing restarts. docs/tls.md explains it.

Check the pillar and the secrets:
  rollout.validated:
    - certificates: False
    - takes: [services, hosts, wait, days]

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Make the certificates:
  rollout.certified:
    - days: 30

Deliver them to the hosts, one after the other:
  rollout.called:
    - function: certificates.deliver
    - serial: 1
    - deadline: 900
