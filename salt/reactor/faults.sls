# A host says that something is wrong. Only noted here: the engine of remediation decides, and no restart loses it.
Note what a host says is wrong:
  runner.remediation.noted:
    - args:
        signed: {{ data.get('data', {}).get('signed', '') | json }}
        signature: {{ data.get('data', {}).get('signature', '') | json }}
