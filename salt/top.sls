# What a highstate gives a host: all services that the pillar places on it, in the order of what they require.
# The pillar key `cloud` is targeted by minion id; a minion that is not in the inventory has none.
{%- set cloud = pillar.get('cloud', {}) %}
{%- set formulas = ['wrong_pillar'] if cloud.get('errors') else cloud.get('formulas', {}).keys() | list %}

base:
  '{{ grains['id'] }}': {{ formulas | json }}
