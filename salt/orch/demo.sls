# First steps: an instance in the cloud, with image, networks and floating IP, and its page; docs/demo.md. Repeatable.

Check the pillar and the secrets:
  rollout.validated:
    - failhard: True

See that every host answers:
  rollout.preflight:
    - deadline: 120
    - failhard: True

Upload the small image and make a flavor:
  rollout.called:
    - function: demo.step
    - arguments: {step: image}
    - service: toolbox
    - first: True
    - deadline: 900
    - failhard: True

Make networks, a router, a security group and a key pair:
  rollout.called:
    - function: demo.step
    - arguments: {step: network}
    - service: toolbox
    - first: True
    - deadline: 900
    - failhard: True

Boot the instance and give it a floating IP:
  rollout.called:
    - function: demo.step
    - arguments: {step: machine}
    - service: toolbox
    - first: True
    - deadline: 900
    - failhard: True

Fetch the instance's page through its floating IP:
  rollout.called:
    - function: demo.step
    - arguments: {step: page}
    - service: toolbox
    - first: True
    - deadline: 900
    - failhard: True
