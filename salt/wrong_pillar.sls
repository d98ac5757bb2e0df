# Takes the place of all services of a host while the pillar is wrong, so that a highstate says why nothing happens.
{%- for error in pillar['cloud']['errors'] %}

Correct the pillar, number {{ loop.index }}:
  test.fail_without_changes:
    - name: {{ error | json }}
    - comment: {{ error | json }}
{%- endfor %}
