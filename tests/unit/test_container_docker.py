"""A spec in Docker's words, and what "privileged" means on a host that cannot give all."""

from __future__ import annotations

import pytest

from saltern.containers.dockerapi import bounding_set, named_volumes, to_docker
from saltern.containers.fields import CAPABILITIES
from saltern.containers.spec import Spec

ALL = (1 << len(CAPABILITIES)) - 1


def body(**fields):
    """Return the body that creates a container with these fields."""
    options = {
        key: fields.pop(key)
        for key in ("bounding", "prefix", "generation", "place")
        if key in fields
    }
    one = Spec.from_dict({"name": "web", "image": "web:1", **fields})
    return to_docker(one, "web", **options)


def test_units_are_dockers():
    """Seconds become nanoseconds, processors become nano-processors."""
    made = body(healthcheck={"test": ["x"], "interval": 5}, cpus=1.5, memory="1g")
    assert made["Healthcheck"]["Interval"] == 5 * 10**9
    assert made["HostConfig"]["NanoCpus"] == 1_500_000_000
    assert made["HostConfig"]["Memory"] == 1 << 30


def test_lines_carry_the_name_that_a_container_will_have():
    """One that starts beside the one it replaces has another name then."""
    assert body(prefix="t-")["HostConfig"]["LogConfig"]["Config"]["tag"] == "t-web"


def test_prefix_goes_before_volumes_and_containers_but_not_paths():
    """So that two clouds on one host do not meet."""
    made = body(prefix="t-", volumes=["data:/d", "/srv:/s:ro"], ipc_mode="container:other")
    assert made["HostConfig"]["Binds"] == ["/srv:/s:ro", "t-data:/d"]
    assert made["HostConfig"]["IpcMode"] == "container:t-other"
    assert named_volumes({"volumes": ["data:/d", "/srv:/s:ro"]}, "t-") == ["t-data"]


def test_the_generation_is_mounted_read_only_and_labelled():
    """Only where the spec has a place for it."""
    generation = {"digest": "abc", "path": "/etc/saltern/services/web/abc"}
    made = body(config_dir="/etc/web", generation=generation)
    assert made["HostConfig"]["Binds"] == ["/etc/saltern/services/web/abc:/etc/web:ro"]
    assert made["Labels"]["saltern.config"] == "abc"
    assert body(generation=generation)["HostConfig"]["Binds"] == []


def test_privileged_is_dockers_own_where_the_host_gives_all():
    """Nothing is computed."""
    host = body(privileged=True, bounding=ALL)["HostConfig"]
    assert host["Privileged"] is True
    assert host["CapAdd"] == []


@pytest.mark.parametrize("missing", [["SYS_RESOURCE"], ["SYS_RESOURCE", "SYS_MODULE"]])
def test_privileged_is_put_together_where_the_host_lacks_a_capability(missing):
    """All that is there, unconfined, every device."""
    bounding = ALL
    for name in missing:
        bounding &= ~(1 << CAPABILITIES.index(name))
    host = body(privileged=True, bounding=bounding, volumes=["/dev:/dev"])["HostConfig"]
    assert "Privileged" not in host
    assert (host["CapAdd"], host["CapDrop"]) == (["ALL"], sorted(missing))
    assert host["SecurityOpt"] == ["apparmor=unconfined", "seccomp=unconfined"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == ([], [])
    assert host["DeviceCgroupRules"] == ["a *:* rwm"]
    assert host["Binds"] == ["/dev:/dev", "/sys:/sys"]


def test_the_bounding_set_does_not_matter_to_others():
    """It is asked only for privileged containers."""
    assert body(bounding=0) == body(bounding=ALL)


def test_system_paths_are_two_fields_of_the_api():
    """The command line's word is not the API's."""
    host = body(security_opt=["systempaths=unconfined"])["HostConfig"]
    assert host["SecurityOpt"] == []
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == ([], [])


def test_bounding_set_is_read_from_proc():
    """proc(5): CapBnd is hexadecimal."""
    assert bounding_set("Name:\tx\nCapBnd:\t000001fffeffffff\n") == ALL & ~(1 << 24)
    assert CAPABILITIES[24] == "SYS_RESOURCE"


def test_a_place_stands_in_command_environment_and_health_check():
    """What the container is does not depend on it: no other digest, no difference."""
    one = {
        "places": [5000, 15000],
        "command": ["serve", "$(PLACE)", "not-$(OTHER_PLACE)"],
        "environment": {"URL": "http://x:$(PLACE)"},
        "healthcheck": {"test": ["ask", "x:$(PLACE)"]},
    }
    first, second = (body(place=place, **one) for place in ("5000", "15000"))
    assert second["Cmd"] == ["serve", "15000", "not-5000"]
    assert second["Env"] == ["PLACE=15000", "URL=http://x:15000"]
    assert second["Healthcheck"]["Test"] == ["CMD", "ask", "x:15000"]
    assert first["Labels"].pop("saltern.place") == "5000"
    assert second["Labels"].pop("saltern.place") == "15000"
    assert first["Labels"] == second["Labels"]
    assert "PLACE=" not in str(body(**one)["Env"])
