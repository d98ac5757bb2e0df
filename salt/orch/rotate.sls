#!yaml|phases
# Give secrets another value, so that nobody is refused meanwhile: pillar='{"what": ["database"], "services":
# ["glance"]}'. The same command goes on with what was interrupted. docs/rotate.md.

Check the pillar and the secrets:
  rollout.validated:
    - takes: [what, services, wait, confirm]

Take the lock of the cloud:
  rollout.locked: []

Decide what is rotated, and whether it can be:
  rotation.due:
    - deadline: 600

Rotate rings of keys:
  rotation.turned:
    - deadline: 600

Make new values, beside the old ones:
  rotation.made: []

Ask every host what the new values change:
  rollout.planned:
    - deadline: 600

Decide in which order members of clusters change:
  rollout.clustered:
    - deadline: 300
    - patience: 60

Bring the new values to the services, host by host:
  rollout.applied:
    - deadline: 1800

See that every service has the new values:
  rotation.retired:
    - deadline: 600

Ask every host where the old values are valid:
  rollout.planned:
    - deadline: 600

Decide in which order members of clusters lose the old values:
  rollout.clustered:
    - deadline: 300
    - patience: 60

End the old values:
  rollout.applied:
    - deadline: 1800

Forget the old values:
  rotation.ended: []
