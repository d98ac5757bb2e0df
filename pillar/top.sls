# Every minion gets the description of the cloud; the ext_pillar `saltern` adds what is its own.
base:
  "*":
    - cloud
