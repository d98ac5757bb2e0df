# Make missing certificates, renew those that expire within `days` (30; pillar='{"days": 60}'), and deliver them:
# nothing restarts. docs/tls.md explains it.

Check the pillar and the secrets:
  rollout.validated:
    - certificates: False
    - takes: [services, hosts, wait, days]
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

See that every host answers:
  rollout.preflight:
    - deadline: 120
    - failhard: True

Make the certificates:
  rollout.certified:
    - days: 30
    - failhard: True

Deliver them to the hosts, one after the other:
  rollout.called:
    - function: certificates.deliver
    - at_once: 1
    - deadline: 900
    - failhard: True
