#!yaml|phases
# Take a host out of the cloud for good, while the pillar still has it: its services are stopped, the clusters, Nova
# and Neutron forget it: pillar='{"remove": "control3", "confirm": "yes"}'. A host that does not answer must be off.
# Then take it out of the pillar and run orch.deploy.

Check the pillar and the secrets:
  rollout.validated:
    - next: "take the host out of the pillar, then salt-run state.orchestrate orch.deploy"
    - takes: [remove, wait, confirm]

Take the lock of the cloud:
  rollout.locked: []

See that every other host answers:
  rollout.preflight:
    - deadline: 120

Say what it takes away, stop its services, and let the clusters, Nova and Neutron forget it:
  rollout.removed:
    - deadline: 900
