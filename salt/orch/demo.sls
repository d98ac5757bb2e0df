# First steps: a machine in the cloud, with image, networks and floating IP, and its page; docs/demo.md. Repeatable.

Check the pillar and the secrets:
  rollout.validated:
    - failhard: True

See that every host answers:
  rollout.preflight:
    - deadline: 120
    - failhard: True

{% for step, title in [
  ("image", "Upload the small image and make a flavor"),
  ("network", "Make networks, a router, a security group and a key pair"),
  ("machine", "Boot the machine and give it a floating IP"),
  ("page", "Fetch the machine's page through its floating IP"),
] %}
{{ title }}:
  rollout.called:
    - function: demo.step
    - arguments: {step: {{ step }}}
    - service: toolbox
    - first: True
    - deadline: 900
    - failhard: True

{% endfor %}
