# Three control hosts and two compute hosts; addresses .9 and .10 belong to no host: keepalived moves them between
# the control hosts. MariaDB, RabbitMQ and OVN's databases are clusters of the three; one of them may fail.
saltern:
  release: "2026.2"
  internal_address: 10.0.0.9
  external_address: 10.0.0.10
  images:
    registry: registry.example.org:5000
  hosts:
    control1: {address: 10.0.0.11, roles: [control, network]}
    control2: {address: 10.0.0.12, roles: [control, network]}
    control3: {address: 10.0.0.13, roles: [control, network]}
    compute1: {address: 10.0.0.21, roles: [compute]}
    compute2: {address: 10.0.0.22, roles: [compute]}
