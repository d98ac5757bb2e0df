#!service
Register services, users and endpoints:
  catalog.registered:
    - name: keystone
