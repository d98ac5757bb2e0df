"""Reboot the demo's instance hard, again and again, and see that its page comes back each time.

In the toolbox, after ``make demo``: ``docker exec -i toolbox python3 - 40 <tests/bench/reboots.py``. Prints a line of
JSON for each reboot; the exit code is 1 if the page did not come back within 300 seconds even once.
"""

import contextlib
import json
import sys
import time
import urllib.request

import openstack

TIMES = int(sys.argv[1])
PATIENCE = 300
cloud = openstack.connect()
server = cloud.get_server("demo")
address = next(
    one["addr"]
    for network in server.addresses.values()
    for one in network
    if one["OS-EXT-IPS:type"] == "floating"
)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers():
    """Return whether the instance shows its page in time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            return bool(opener.open(f"http://{address}/", timeout=10).read())
        time.sleep(1)
    return False


reached = 0
for number in range(1, TIMES + 1):
    began = time.monotonic()
    cloud.compute.reboot_server(server.id, "HARD")
    time.sleep(1)
    while (one := cloud.compute.get_server(server.id)).task_state:
        time.sleep(1)
    reachable = answers()
    reached += reachable
    seconds = round(time.monotonic() - began, 1)
    said = {"reboot": number, "status": one.status, "reachable": reachable, "seconds": seconds}
    print(json.dumps(said), flush=True)
sys.exit(reached < TIMES)
