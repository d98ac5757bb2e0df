#!yaml|phases
# Remove all that orch.demo has made, and nothing else.

Check the pillar and the secrets:
  rollout.validated: []

See that every host answers:
  rollout.preflight:
    - deadline: 120

Remove what the demo has made:
  rollout.called:
    - function: demo.step
    - arguments: {step: destroy}
    - service: toolbox
    - first: True
    - deadline: 900
