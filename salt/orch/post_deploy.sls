#!yaml|phases
# Write clouds.yaml, openrc and the command openstack on the hosts of the toolbox.

Check the pillar and the secrets:
  rollout.validated: []

Take the lock of the cloud:
  rollout.locked: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Write what people need to use the cloud:
  rollout.called:
    - function: saltern.post_deploy
    - service: toolbox
    - deadline: 120

Say how to use the cloud:
  rollout.introduced:
    - client: toolbox
    - dashboard: horizon
