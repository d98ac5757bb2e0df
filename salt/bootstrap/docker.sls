# Docker as the distribution packages it; another packaging of it (docker-ce) is left alone.

Configure Docker:
  file.serialize:
    - name: /etc/docker/daemon.json
    - dataset: {{ pillar['bootstrap']['docker'] | json }}
    - serializer: json
    - merge_if_exists: True
    - makedirs: True
    - mode: "0644"

Install Docker:
  pkg.installed:
    - name: docker.io
    - install_recommends: False
    - unless: command -v dockerd
    - require:
      - file: Configure Docker

# Debian 12's docker.io brings the client, Debian 13's does not.
Install Docker's client:
  pkg.installed:
    - name: docker-cli
    - install_recommends: False
    - unless: command -v docker
    - require:
      - pkg: Install Docker

# A restart would else stop the containers of a daemon that has run without it.
Take over live-restore before the restart:
  cmd.run:
    - name: systemctl reload docker
    - onlyif: systemctl is-active docker
    - onchanges:
      - file: Configure Docker

Run Docker:
  service.running:
    - name: docker
    - enable: True
    - require:
      - pkg: Install Docker's client
      - cmd: Take over live-restore before the restart
    - watch:
      - file: Configure Docker
