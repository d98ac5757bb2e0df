# What makes a bare host one of the cloud's: applied over SSH by orch.bootstrap_servers, again and again without harm.
# Its pillar key `bootstrap` comes from _utils/saltern/bootstrap/hosts.py; docs/hosts.md explains the choices.
include:
  - bootstrap.system
  - bootstrap.docker
  - bootstrap.minion
