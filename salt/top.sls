# What a highstate gives a host: all services that the pillar places on it, in the order of what
# they require. The pillar key `cloud` is targeted by minion id; a minion that is not in the
# inventory has none.
{%- set cloud = pillar.get('cloud', {}) %}
{%- if cloud.get('errors') %}
{{ raise('The pillar is wrong:\n' ~ cloud['errors'] | join('\n')) }}
{%- endif %}

base:
  '{{ grains['id'] }}':
    {{ cloud.get('formulas', {}).keys() | list | json }}
