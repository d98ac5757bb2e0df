# TLS wherever there is an option for it (docs/tls.md: what stays plain): certificates come from orch.certificates, or from the operator.
saltern:
  release: "2026.2"
  internal_address: 10.0.0.9
  external_address: 10.0.0.10
  external_name: cloud.example.org
  tls: {external: true, internal: true, backend: true}
  hosts:
    control1: {address: 10.0.0.11, roles: [control, network]}
    control2: {address: 10.0.0.12, roles: [control, network]}
    control3: {address: 10.0.0.13, roles: [control, network]}
    compute1: {address: 10.0.0.21, roles: [compute]}
mariadb: {tls: true}
rabbitmq: {tls: true}
