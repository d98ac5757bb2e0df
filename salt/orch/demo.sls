#!yaml|phases
# First steps: an instance in the cloud, with image, networks and floating IP, and its page; docs/demo.md. Repeatable.

Check the pillar and the secrets:
  rollout.validated: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Upload the small image and make a flavor:
  rollout.called:
    - function: demo.step
    - arguments: {step: image}
    - service: toolbox
    - first: True
    - deadline: 900

Make networks, a router, a security group and a key pair:
  rollout.called:
    - function: demo.step
    - arguments: {step: network}
    - service: toolbox
    - first: True
    - deadline: 900

Boot the instance and give it a floating IP:
  rollout.called:
    - function: demo.step
    - arguments: {step: machine}
    - service: toolbox
    - first: True
    - deadline: 900

Fetch the instance's page through its floating IP:
  rollout.called:
    - function: demo.step
    - arguments: {step: page}
    - service: toolbox
    - first: True
    - deadline: 900
