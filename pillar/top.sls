# The description of the cloud is for the master alone (and for `salt-run pillar.show_pillar`, which shows that of "*"):
# each host gets what is its own by the ext_pillar `saltern`. Copy this file to /etc/saltern/pillar to give hosts more.
base:
  saltern_master:
    - cloud
  "[*]":
    - cloud
