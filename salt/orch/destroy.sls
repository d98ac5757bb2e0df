# Remove containers, volumes with all data, and configuration; pillar, secrets and images stay.

Ask for confirmation:
  rollout.confirmed:
    - what: all containers of the cloud, their volumes with all data, and their configuration
    - failhard: True

Check the pillar and the secrets:
  rollout.validated:
    - failhard: True

Take the lock of the cloud:
  rollout.locked:
    - failhard: True

See that every host answers:
  rollout.preflight:
    - deadline: 120
    - failhard: True

Remove the services:
  rollout.called:
    - function: saltern.destroy
    - deadline: 900
    - failhard: True
