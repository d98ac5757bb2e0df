"""container.running on real Docker: create, no-op, change, and the old one back on failure."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from saltern.containers.dockerapi import bounding_set

pytestmark = pytest.mark.docker


def test_a_container_is_created_and_healthy(call, api, prefix, web):
    """The first run creates it, with the labels that later runs compare."""
    done = call("container.running", **web)
    assert done["action"] == "create"
    found = api.inspect_container(f"{prefix}web")
    assert found["State"]["Running"]
    assert found["Config"]["Labels"]["saltern.service"] == "web"
    assert not _kept(api, prefix)


def test_a_second_run_changes_nothing(call, api, prefix, web):
    """The same spec, in another order and notation, is no change."""
    del web["healthcheck"]  # Docker calls a container with one `starting` for an interval
    web["environment"] = {"A": 1, "B": True}
    call("container.running", **web)
    before = api.inspect_container(f"{prefix}web")["State"]["StartedAt"]
    web["environment"] = {"B": "true", "A": "1"}
    done = call("container.running", **web)
    assert (done["action"], done["changes"]) == ("nothing", {})
    assert api.inspect_container(f"{prefix}web")["State"]["StartedAt"] == before


def test_unchanged_containers_cost_no_call_of_their_own(salt_loaded, web, monkeypatch):
    """After one listing, any number of comparisons asks Docker nothing."""
    del web["healthcheck"]
    names = ["one", "two", "three"]
    for name in names:
        salt_loaded.modules["container.running"](**{**web, "name": name})
    salt_loaded.modules["container.list"]()
    asked = []
    host = salt_loaded.context["saltern.containers"][1]
    send = host.engine._api.send
    monkeypatch.setattr(
        host.engine._api, "send", lambda *args, **kw: asked.append(args) or send(*args, **kw)
    )
    for name in names:
        done = salt_loaded.modules["container.running"](**{**web, "name": name})
        assert done["action"] == "nothing"
    assert not asked


def test_a_changed_field_replaces_and_is_told_field_by_field(call, api, prefix, web):
    """The plan and the result name what changed; the old container is gone."""
    web["environment"] = {"LEVEL": "1", "SAME": "x"}
    call("container.running", **web)
    old = api.inspect_container(f"{prefix}web")["Id"]
    web["environment"] = {"LEVEL": "2", "SAME": "x"}
    wanted = {"environment.LEVEL": {"old": "1", "new": "2"}}
    assert call("container.plan", **web)["changes"] == wanted
    assert api.inspect_container(f"{prefix}web")["Id"] == old
    done = call("container.running", **web)
    assert (done["action"], done["changes"]) == ("replace", wanted)
    new = api.inspect_container(f"{prefix}web")
    assert new["Id"] != old
    assert "LEVEL=2" in new["Config"]["Env"]
    assert not _kept(api, prefix)


def test_a_changed_image_replaces(call, api, prefix, web, other_image):
    """Another image under the same or another name is a change."""
    call("container.running", **web)
    web["image"] = other_image
    done = call("container.running", **web)
    assert done["action"] == "replace"
    assert list(done["changes"]) == ["image"]
    assert api.inspect_container(f"{prefix}web")["Config"]["Image"] == other_image


def test_a_changed_config_generation_replaces(call, api, prefix, web, tmp_path):
    """The generation is mounted read-only where the spec says, and its digest is compared."""
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "web.conf").write_text(f"generation {number}")
        generation = {"digest": number, "path": str(tmp_path / number)}
        done = call("container.running", generation=generation, config_dir="/etc/web", **web)
        seen = call("container.exec", "web", ["cat", "/etc/web/web.conf"])
        assert seen["stdout"] == f"generation {number}"
    assert done["changes"] == {"config": {"old": "1", "new": "2"}}
    refused = call("container.exec", "web", "sh -c 'echo x > /etc/web/web.conf'")
    assert refused["retcode"] != 0


def test_a_server_that_needs_a_second_start_comes_up(call, api, prefix, web):
    """A busy database is no reason to go back: the restart policy has one attempt."""
    twice = f"test -e /data/tried || {{ echo >/data/tried; exit 3; }}; {web['command'][-1]}"
    web |= {"command": ["sh", "-c", twice], "volumes": ["web:/data"]}
    assert call("container.running", **web)["action"] == "create"
    assert api.inspect_container(f"{prefix}web")["RestartCount"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"command": ["sh", "-c", "echo broken config; exit 3"]}, "exited with code 3"),
        ({"command": ["sh", "-c", "sleep 1; echo broken config; exit 3"]}, "exited with code 3"),
        ({"command": ["no-such-program"]}, "could not be started"),
        (
            {"healthcheck": {"test": ["sh", "-c", "echo nobody listens; false"]}, "deadline": 2},
            "is not healthy after 2 s; its check said: nobody listens",
        ),
        (
            {
                "command": ["sh", "-c", "echo broken config; head -c 64m /dev/zero | tail -c 64m"],
                "memory": "8m",
                "read_only": False,
            },
            "OOM",
        ),
    ],
    ids=["exits at once", "exits later", "not startable", "unhealthy", "out of memory"],
)
def test_the_old_container_comes_back_if_the_new_one_fails(call, api, prefix, web, change, reason):
    """Same id, running; the message has the reason and the new one's last lines."""
    call("container.running", **web)
    old = api.inspect_container(f"{prefix}web")["Id"]
    with pytest.raises(CommandExecutionError) as error:
        call("container.running", **{**web, **change})
    assert reason in str(error.value)
    assert "The old container is back and runs" in str(error.value)
    if "broken config" in str(change) and reason != "OOM":
        assert "Its last lines:\nbroken config" in str(error.value)
    now = api.inspect_container(f"{prefix}web")
    assert (now["Id"], now["State"]["Running"]) == (old, True)
    assert _kept(api, prefix) == ["web.failed"]
    # It goes when the mistake is undone, and nothing else changes.
    assert list(call("container.running", **web)["changes"]) == ["failed"]
    assert _kept(api, prefix) == []
    assert api.inspect_container(f"{prefix}web")["Id"] == old


def test_a_first_container_that_fails_is_kept_for_inspection(call, api, prefix, web):
    """It is stopped; its output can be read; the next good run takes it away."""
    bad = {**web, "command": ["sh", "-c", "echo no database; exit 1"]}
    for _ in range(2):
        with pytest.raises(CommandExecutionError, match="no older container"):
            call("container.running", **bad)
        assert _kept(api, prefix) == ["web.failed"]
    assert "no database" in call("container.logs", "web.failed")
    assert call("container.running", **web)["action"] == "create"
    assert not _kept(api, prefix)


def test_a_worker_with_places_stops_when_its_successor_is_well(call, api, prefix, web):
    """What asks it over a queue waits for nobody; the place is told, so that both can run."""
    web |= {"places": ["a", "b"], "environment": {"LEVEL": "1"}}
    call("container.running", **web)
    old = api.inspect_container(f"{prefix}web")
    web["environment"] = {"LEVEL": "2"}
    began = time.time()
    call("container.running", **web)
    new = api.inspect_container(f"{prefix}web")
    assert "PLACE=a" in old["Config"]["Env"]
    assert "PLACE=b" in new["Config"]["Env"]
    both = {"type": "container", "container": [old["Id"], new["Id"]], "event": ["start", "die"]}
    said = api.events(since=began, until=time.time(), decode=True, filters=both)
    steps = [(one["id"], one["Action"]) for one in said]
    assert steps == [(new["Id"], "start"), (old["Id"], "die")]
    assert not _kept(api, prefix)


def test_a_stopped_container_is_started_not_replaced(call, api, prefix, web):
    """The container itself stays."""
    call("container.running", **web)
    old = api.inspect_container(f"{prefix}web")["Id"]
    assert call("container.stopped", "web") is True
    assert call("container.stopped", "web") is False
    done = call("container.running", **web)
    assert (done["action"], done["changes"]) == (
        "start",
        {"state": {"old": "exited", "new": "running"}},
    )
    now = api.inspect_container(f"{prefix}web")
    assert (now["Id"], now["State"]["Running"]) == (old, True)


def test_a_missing_image_leaves_the_old_container_alone(call, api, prefix, web):
    """Nothing is stopped before the new container exists."""
    call("container.running", **web)
    before = api.inspect_container(f"{prefix}web")["State"]["StartedAt"]
    with pytest.raises(CommandExecutionError, match="not on this host: build it"):
        call("container.running", **{**web, "image": "saltern-test/none:1"})
    assert api.inspect_container(f"{prefix}web")["State"]["StartedAt"] == before


def test_a_container_of_somebody_else_is_left_alone(call, api, prefix, web, image):
    """Its name is taken: that is an error with a remedy, and it goes on."""
    api.create_container(image, ["sleep", "60"], name=f"{prefix}web")
    with pytest.raises(CommandExecutionError, match="was not made by Saltern"):
        call("container.running", **web)
    assert call("container.absent", "web") == []
    assert api.inspect_container(f"{prefix}web")


def test_limits_mounts_and_rights_are_those_of_the_spec(call, api, prefix, web):
    """What Docker applied, and what the process sees."""
    web.update(
        user="4242:4242",
        memory="64m",
        cpus=0.5,
        ulimits={"nofile": {"soft": 512, "hard": 1024}},
        volumes=["data:/data"],
        cap_add=["NET_BIND_SERVICE"],
        stop_signal="INT",
        log_options={"max-size": "1m"},
    )
    call("container.running", **web)
    found = api.inspect_container(f"{prefix}web")
    host = found["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (64 << 20, 500_000_000)
    assert host["LogConfig"]["Config"] == {
        "max-size": "1m",
        "max-file": "5",
        "labels": "saltern.prefix,saltern.service",
        # Not the name of its start, by which a replacement has .next.
        "tag": f"{prefix}web",
    }
    assert (host["CapDrop"], host["ReadonlyRootfs"]) == (["ALL"], True)
    assert found["Config"]["StopSignal"] == "SIGINT"
    inside = call(
        "container.exec",
        "web",
        ["sh", "-c", "id -u; ulimit -n; ulimit -Hn; cat /proc/self/status; echo x >/data/f"],
    )
    assert inside["retcode"] == 0, inside["stderr"]
    assert inside["stdout"].split()[:3] == ["4242", "512", "1024"]
    assert "CapBnd:\t0000000000000400" in inside["stdout"]
    assert "NoNewPrivs:\t1" in inside["stdout"]
    assert call("container.exec", "web", "sh -c 'echo x >/etc/f'")["retcode"] != 0
    assert list(call("container.volumes")) == ["data"]


def test_a_privileged_container_works_also_where_the_host_lacks_a_capability(call, web):
    """It has every capability that the host can give, and the host's devices."""
    web.update(privileged=True, read_only=False)
    call("container.running", **web)
    seen = call("container.exec", "web", ["sh", "-c", "cat /proc/1/status; test -e /dev/kmsg"])
    assert seen["retcode"] == 0
    wanted = bounding_set(Path("/proc/self/status").read_text())
    # The last capability that every supported Docker knows is the 38th, AUDIT_READ.
    assert bounding_set(seen["stdout"]) & (1 << 38) - 1 == wanted & (1 << 38) - 1


def test_absent_keeps_volumes_unless_told(call, api, prefix, web):
    """Data outlives the container."""
    web["volumes"] = ["data:/data"]
    call("container.running", **web)
    call("container.exec", "web", ["sh", "-c", "echo kept >/data/f"])
    assert call("container.absent", "web") == [f"{prefix}web"]
    assert call("container.list") == {}
    call("container.running", **web)
    assert call("container.exec", "web", ["cat", "/data/f"])["stdout"] == "kept\n"
    assert call("container.absent", "web", volumes=True) == [f"{prefix}web", f"{prefix}data"]
    assert call("container.volumes") == {}


def test_a_wrong_field_stops_before_docker_is_asked(call, web):
    """The message names the field and the nearest one."""
    with pytest.raises(CommandExecutionError, match="unknown field 'volums'; did you mean"):
        call("container.running", volums=["a:/b"], **web)


def test_a_health_check_that_is_not_in_the_image_is_told(call, web):
    """What Docker said about it is the reason."""
    web.update(healthcheck={"test": ["no-such-check"]}, deadline=1)
    with pytest.raises(CommandExecutionError, match=r"not healthy after 1 s.*no-such-check"):
        call("container.running", **web)


def test_no_docker_is_an_error_with_a_remedy(call, monkeypatch, tmp_path):
    """Nobody wants a traceback of an HTTP library."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(CommandExecutionError, match=r"does not answer on .*none\.sock.*dockerd"):
        call("container.list")


def _kept(api, prefix):
    """Return the containers that a replacement has left beside the one that serves."""
    found = api.containers(all=True, filters={"name": f"^/{prefix}web\\."})
    return sorted(one["Names"][0].removeprefix(f"/{prefix}") for one in found)
