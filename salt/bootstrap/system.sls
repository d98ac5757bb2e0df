# Names, kernel settings and the clock.
{%- set host = pillar['bootstrap']['hosts'][grains['id']] %}

Name all hosts of the cloud in /etc/hosts:
  file.blockreplace:
    - name: /etc/hosts
    - marker_start: "# Hosts of the cloud, written by Saltern (orch.bootstrap_servers)"
    - marker_end: "# End of the hosts of the cloud"
    - append_if_not_found: True
    - content: |
        {%- for id, one in pillar['bootstrap']['hosts'] | dictsort %}
        {{ one['address'] }} {{ id }}
        {%- endfor %}

{%- for name, value in host['sysctl'] | dictsort %}

Set {{ name }} to {{ value }}:
  sysctl.present:
    - name: {{ name }}
    - value: {{ value }}
    - config: /etc/sysctl.d/90-saltern.conf
{%- endfor %}

# Another program that keeps the clock (chrony, ntpsec) is left alone.
Install a program that keeps the clock:
  pkg.installed:
    - name: systemd-timesyncd
    - install_recommends: False
    - unless: command -v chronyd || command -v ntpd

{%- if grains['virtual'] != 'container' %}

Keep the clock:
  service.running:
    - name: systemd-timesyncd
    - enable: True
    - onlyif: test -e /lib/systemd/systemd-timesyncd
    - require:
      - pkg: Install a program that keeps the clock
{%- endif %}
