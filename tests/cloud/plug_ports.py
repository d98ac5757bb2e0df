"""Plugs ports as nova-compute does, in its container; prints those that are wrong.

Usage: python - TIMES DATAPATH
"""

import sys
import time
import uuid
from pathlib import Path

import os_vif
from nova import config  # noqa: F401 (registers the options)
from nova.conf import CONF
from os_vif import objects

UP, PROMISCUOUS = 0x1, 0x100


def port(name):
    """Return what Nova would give os-vif for the port of an instance."""
    return objects.vif.VIFOpenVSwitch(
        id=str(uuid.uuid4()),
        address="fa:16:3e:00:00:01",
        vif_name=name,
        bridge_name="br-int",
        plugin="ovs",
        network=objects.network.Network(id=str(uuid.uuid4()), bridge="br-int", mtu=1400),
        port_profile=objects.vif.VIFPortProfileOpenVSwitch(
            interface_id=str(uuid.uuid4()),
            datapath_type=sys.argv[2],
            create_port=True,
            create_tap=True,
        ),
    )


def flags(name):
    """Return an interface's flags once the switch has opened it."""
    for _ in range(300):
        found = int(Path(f"/sys/class/net/{name}/flags").read_text(), 16)
        if found & PROMISCUOUS:
            break
        time.sleep(0.05)
    return found


CONF(["--config-file", "/etc/nova/nova.conf"], project="nova")
os_vif.initialize()
info = objects.instance_info.InstanceInfo(uuid=str(uuid.uuid4()), name="plugged")
for number in range(int(sys.argv[1])):
    one = port(f"tap-test-{number}")
    os_vif.plug(one, info)
    try:
        if not flags(one.vif_name) & UP:
            print(f"down: {one.vif_name}")
    finally:
        os_vif.unplug(one, info)
