# The Salt minion, from the same lock and with the same configuration as set-up's.
{%- set minion = pillar['bootstrap']['minion'] %}
{%- set home = '/opt/saltern' %}

Install what makes virtualenvs:
  pkg.installed:
    - name: python3-venv
    - install_recommends: False
    - unless: python3 -c 'import ensurepip, venv'

Write the lock of the minion's Python packages:
  file.managed:
    - name: {{ home }}/requirements.txt
    - source: salt://bootstrap/files/requirements.txt
    - makedirs: True

Write the program that makes the virtualenv:
  file.managed:
    - name: {{ home }}/virtualenv
    - source: salt://bootstrap/files/virtualenv
    - mode: "0755"

Make the virtualenv:
  cmd.run:
    - name: {{ home }}/virtualenv {{ home }}/venv {{ home }}/requirements.txt
    - unless: {{ home }}/virtualenv --check {{ home }}/venv {{ home }}/requirements.txt
    {%- if minion['pip_index'] %}
    - env:
      - PIP_INDEX_URL: {{ minion['pip_index'] | json }}
    {%- endif %}
    - require:
      - pkg: Install what makes virtualenvs
      - file: Write the lock of the minion's Python packages
      - file: Write the program that makes the virtualenv

{%- for folder in (minion['etc'], minion['config_dir'], minion['var'], minion['log']) %}

Keep {{ folder }} to root:
  file.directory:
    - name: {{ folder }}
    - mode: "0750"
    - makedirs: True
{%- endfor %}

Configure the minion:
  file.managed:
    - name: {{ minion['config_dir'] }}/minion
    - source: salt://bootstrap/files/minion.conf
    - template: jinja
    - context: {{ dict(minion, id=grains['id']) | json }}
    - mode: "0640"
    - require:
      - file: Keep {{ minion['config_dir'] }} to root

# Its fingerprint is in the configuration: the minion takes the key of that master anew.
Forget the key of an earlier master:
  file.absent:
    - name: {{ minion['config_dir'] }}/pki/minion/minion_master.pub
    - onchanges:
      - file: Configure the minion

Make the minion's key:
  cmd.run:
    - name: >-
        umask 077 && mkdir -p {{ minion['config_dir'] }}/pki/minion && {{ home }}/venv/bin/python -c
        'import salt.crypt; salt.crypt.write_keys("{{ minion['config_dir'] }}/pki/minion", "minion", {{ minion['keysize'] }})'
    - creates: {{ minion['config_dir'] }}/pki/minion/minion.pem
    - require:
      - cmd: Make the virtualenv
      - file: Keep {{ minion['config_dir'] }} to root

# All of it in one go, where a minion would ask for each file: hundreds of signed messages on the master.
{%- for kind in minion['code'] %}

Bring it the {{ kind }} of this checkout:
  file.recurse:
    - name: {{ minion['var'] }}/cache/minion/extmods/{{ kind }}
    - source: salt://_{{ kind }}
    - include_pat: E@\.py$
    - exclude_pat: E@__pycache__
    - clean: True
    - require:
      - file: Keep {{ minion['var'] }} to root
{%- endfor %}

Describe the minion to systemd:
  file.managed:
    - name: /etc/systemd/system/saltern-minion.service
    - source: salt://bootstrap/files/salt.service
    - template: jinja
    - context:
        role: minion
        program: {{ home }}/venv/bin/salt-minion
        config_dir: {{ minion['config_dir'] }}

# Salt tells systemd of a changed unit by itself.
Run the minion:
  service.running:
    - name: saltern-minion
    - enable: True
    - require:
      - cmd: Make the minion's key
      - file: Forget the key of an earlier master
    - watch:
      - cmd: Make the virtualenv
      - file: Configure the minion
      - file: Describe the minion to systemd
      {%- for kind in minion['code'] %}
      - file: Bring it the {{ kind }} of this checkout
      {%- endfor %}
