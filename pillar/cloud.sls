# The cloud: an all-in-one that nobody outside this machine can reach.
# Copy it to /etc/saltern/pillar/cloud.sls (which wins over this file) and edit that; then see
# what would change with `salt-run saltern.plan`. docs/pillar.md explains every key.
saltern:
  release: "2026.2"
  region: RegionOne
  # HAProxy offers the APIs here, the services behind it listen on their host's address.
  internal_address: 127.0.0.2
  # Name an address of this machine to make the public endpoints reachable from outside.
  external_address: 127.0.0.2
  hosts:
    aio:
      address: 127.0.0.1
      roles: [control, network, compute, storage]
