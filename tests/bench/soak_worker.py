"""One project of ``make soak``, in the toolbox: - NAME MINUTES. Prints a line of JSON for each operation.

Ends after the minutes, or as soon as there is a file /tmp/NAME.stop; then it takes away what it has made.
"""

import contextlib
import json
import pathlib
import re
import secrets
import sys
import time
import urllib.request

import openstack

NAME, MINUTES = sys.argv[1], float(sys.argv[2])
STOP = pathlib.Path(f"/tmp/{NAME}.stop")
END = time.monotonic() + 60 * MINUTES
# A loaded machine without KVM needs minutes for what others do in seconds.
PATIENCE = 600
IN_USE = "3.66"


class GaveUpError(Exception):
    """An operation failed: what follows in its cycle is left out."""


def over():
    """Return whether it is time to end."""
    return STOP.exists() or time.monotonic() > END


def do(operation, function, *arguments, **more):
    """Do an operation and say how it went.

    :raises GaveUpError: It failed.
    """
    error, answer = "", None
    try:
        answer = function(*arguments, **more)
    except Exception as problem:
        # Identifiers would make each error one of its own.
        error = re.sub(r"req-[0-9a-f-]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}", "X", str(problem))
    print(json.dumps({"operation": operation, "error": error[:300]}), flush=True)
    if error:
        raise GaveUpError
    return answer


def until(get, wanted):
    """Wait until something has a status; None is that it is gone.

    :raises TimeoutError: It took too long. RuntimeError: it is in error.
    """
    end = time.monotonic() + PATIENCE
    while True:
        one = get()
        status = one.status.lower() if one else None
        if status == wanted:
            return
        if status and "error" in status:
            raise RuntimeError(f"status {status}")
        if time.monotonic() > end:
            raise TimeoutError(f"status {status} and not {wanted} after {PATIENCE} s")
        time.sleep(1)


def fetched(address):
    """Wait for the page that the instance serves.

    :raises TimeoutError: It did not come.
    """
    end = time.monotonic() + PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://{address}/", timeout=20) as page:
                return page.read()
        except OSError as error:
            if time.monotonic() > end:
                raise TimeoutError(f"no page from the instance after {PATIENCE} s") from error
            time.sleep(1)


class Project:
    """A project with a user of its own."""

    def __init__(self, admin):
        self.admin = admin
        password = secrets.token_hex(16)
        identity = admin.identity
        # What a killed run has left serves again.
        self.project = identity.find_project(NAME) or identity.create_project(name=NAME)
        self.user = identity.find_user(NAME) or identity.create_user(name=NAME)
        identity.update_user(self.user, password=password)
        role = identity.find_role("member")
        identity.assign_project_role_to_user(self.project, self.user, role)
        self.cloud = admin.connect_as(username=NAME, password=password, project_name=NAME)
        self.image, self.flavor = admin.get_image("demo"), admin.get_flavor("demo")
        self.outside = next(iter(admin.network.networks(is_router_external=True)))

    def cycle(self):
        """Make, use and delete one of each."""
        network, compute, storage = self.cloud.network, self.cloud.compute, self.cloud.block_storage
        net = do("create network", network.create_network, name=NAME)
        subnet = do(
            "create subnet",
            network.create_subnet,
            network_id=net.id,
            ip_version=4,
            cidr="10.98.0.0/24",
        )
        gateway = {"network_id": self.outside.id}
        router = do(
            "create router", network.create_router, name=NAME, external_gateway_info=gateway
        )
        do("add interface", network.add_interface_to_router, router, subnet_id=subnet.id)
        group = do("create security group", network.create_security_group, name=NAME)
        web = {
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": 80,
            "port_range_max": 80,
        }
        do("create rule", network.create_security_group_rule, security_group_id=group.id, **web)
        server = do(
            "create instance",
            compute.create_server,
            name=NAME,
            image_id=self.image.id,
            flavor_id=self.flavor.id,
            networks=[{"uuid": net.id}],
            security_groups=[{"name": group.id}],
        )
        volume = do("create volume", storage.create_volume, name=NAME, size=1)
        do("wait for volume", until, lambda: storage.get_volume(volume.id), "available")
        do("wait for instance", until, lambda: compute.get_server(server.id), "active")
        do("attach volume", compute.create_volume_attachment, server, volume_id=volume.id)
        do("wait for attachment", until, lambda: storage.get_volume(volume.id), "in-use")
        body = {"snapshot": {"volume_id": volume.id, "name": NAME}}
        do("create snapshot", self.posted, "/snapshots", body)
        snapshot = next(iter(storage.snapshots(name=NAME)))
        do("wait for snapshot", until, lambda: storage.get_snapshot(snapshot.id), "available")
        port = next(iter(network.ports(device_id=server.id)))
        address = do(
            "create floating IP",
            network.create_ip,
            floating_network_id=self.outside.id,
            port_id=port.id,
        )
        do("fetch page", fetched, address.floating_ip_address)

    def posted(self, path, body):
        """Send a request to Cinder that snapshots a volume in use."""
        answer = self.cloud.block_storage.post(path, json=body, microversion=IN_USE)
        openstack.exceptions.raise_from_response(answer)

    def emptied(self):
        """Delete all that the project has, in the order that the services demand."""
        network, compute, storage = self.cloud.network, self.cloud.compute, self.cloud.block_storage
        for one in network.ips():
            self.tried("delete floating IP", network.delete_ip, one)
        # One at a time: a snapshot of a volume in use goes by way of its instance.
        for one in list(storage.snapshots()):
            self.tried("delete snapshot", storage.delete_snapshot, one)
            self.tried(
                "snapshot gone", until, lambda one=one: self.found(storage.find_snapshot, one), None
            )
        for one in list(compute.servers()):
            self.tried("delete instance", compute.delete_server, one)
            self.tried(
                "instance gone", until, lambda one=one: self.found(compute.find_server, one), None
            )
        for one in list(storage.volumes()):
            self.tried(
                "wait for detachment",
                until,
                lambda one=one: storage.get_volume(one.id),
                "available",
            )
            self.tried("delete volume", storage.delete_volume, one)
            self.tried(
                "volume gone", until, lambda one=one: self.found(storage.find_volume, one), None
            )
        for router in list(network.routers()):
            for port in network.ports(device_id=router.id):
                for fixed in port.fixed_ips:
                    subnet = {"subnet_id": fixed["subnet_id"]}
                    self.tried(
                        "remove interface", network.remove_interface_from_router, router, **subnet
                    )
            self.tried("delete router", network.delete_router, router)
        for one in list(network.networks(project_id=self.project.id)):
            self.tried("delete network", network.delete_network, one)
        for one in list(network.security_groups(project_id=self.project.id)):
            if one.name != "default":
                self.tried("delete security group", network.delete_security_group, one)

    @staticmethod
    def found(find, one):
        """Return a thing as it is now, None if it is gone."""
        return find(one.id, ignore_missing=True)

    @staticmethod
    def tried(*arguments, **more):
        """Do an operation; what fails is counted and does not keep the others from being done."""
        with contextlib.suppress(GaveUpError):
            do(*arguments, **more)

    def removed(self):
        """Take user and project away."""
        for one in self.admin.network.security_groups(project_id=self.project.id):
            self.admin.network.delete_security_group(one)
        self.admin.identity.delete_user(self.user)
        self.admin.identity.delete_project(self.project)


STOP.unlink(missing_ok=True)
project = Project(openstack.connect())
try:
    project.emptied()
    while not over():
        with contextlib.suppress(GaveUpError):
            project.cycle()
        project.emptied()
finally:
    project.emptied()
    project.removed()
    STOP.unlink(missing_ok=True)
