# A minion has started. Its id says which host asks; what happens is decided by the master's pillar alone.
Deploy to a host that has started:
  runner.saltern.started:
    - args:
        host: {{ data['id'] | json }}
