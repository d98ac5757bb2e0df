#!yaml|phases
# Form the database cluster of a new cloud, and nothing else: its first host forms it, the others join one by one.
# orch.deploy does the same by itself. Where a member holds data already, nothing is formed anew.

Check the pillar and the secrets:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.deploy"
    - services: [mariadb]
    - takes: [hosts, wait]

Take the lock of the cloud:
  rollout.locked: []

Ask every host what would change:
  rollout.planned:
    - deadline: 600

Decide who forms the cluster:
  rollout.clustered:
    - deadline: 300
    - patience: 60

Run the members, one after the other:
  rollout.applied:
    - deadline: 1800

See that all members are in step:
  rollout.decided:
    - service: mariadb
    - facts: galera.status
    - decision: galera.agree
