#!yaml|phases
# Bring services from the release that runs to the one of the pillar, or to a new image of the same one; `services`
# of the command chooses some. Until schemas are contracted a failure takes all of it back. docs/upgrade.md.

Check the pillar and the secrets:
  rollout.validated:
    - maintenance: refuse
    - next: "salt-run state.orchestrate orch.deploy, for what else differs; salt-run saltern.status shows what runs"
    - takes: [services, hosts, wait, backup]

Take the lock of the cloud:
  rollout.locked: []

Pull the images that are missing:
  rollout.pulled:
    - missing: True
    - serial: 10
    - deadline: 3600

Ask every host what would change:
  rollout.planned:
    - deadline: 600

Decide what is upgraded, and whether it can be:
  upgrade.due:
    - deadline: 300

Ask the services' own upgrade checks:
  upgrade.checked:
    - deadline: 1200

Back up the databases that change:
  upgrade.backed_up:
    - deadline: 21600

Expand the schemas:
  upgrade.expanded:
    - deadline: 21600

Decide in which order members of clusters change:
  rollout.clustered:
    - deadline: 300
    - patience: 60

Replace the containers, service by service:
  upgrade.replaced:
    - deadline: 1800

Move data on and contract the schemas:
  upgrade.contracted:
    - deadline: 21600
