#!yaml|phases
# Start a database cluster of which no member is up, from the member that holds every acknowledged write.
# It refuses where facts are missing or contradict each other, unless the operator chooses:
# pillar='{"force": "control2", "confirm": "yes"}'. docs/services/mariadb.md explains the choice.

Check the pillar and the secrets:
  rollout.validated:
    - next: "salt-run state.orchestrate orch.deploy starts the services that need it"
    - services: [mariadb]
    - takes: [hosts, wait, force, confirm]

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

See that no member is up, and stop those that try to join:
  rollout.decided:
    - service: mariadb
    - facts: galera.status
    - decision: galera.down
    - act: galera.stop
    - deadline: 300

Choose the member that holds every write, and let it form the cluster:
  rollout.decided:
    - service: mariadb
    - facts: galera.position
    - decision: galera.choose
    - act: galera.bootstrap
    - deadline: 900

Let the others join, one after the other:
  rollout.called:
    - function: galera.join
    - service: mariadb
    - serial: 1
    - deadline: 1900

See that all members are in step:
  rollout.decided:
    - service: mariadb
    - facts: galera.status
    - decision: galera.agree
