"""Plan, deployment and status tell what is down, what cannot be asked and what is left over."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Iterator

import docker
import pytest

from .conftest import HOSTS, PREFIX, Cloud, until

pytestmark = pytest.mark.docker

IMAGE = "web:2026.2"
ON = {"enabled": True}


@pytest.fixture(scope="module")
def api() -> docker.APIClient:
    """Return Docker's SDK, to break what the product has started."""
    return docker.APIClient(version="auto")


@contextlib.contextmanager
def image_of(api: docker.APIClient) -> Iterator[str]:
    """Make an image of a static busybox, and yield its namespace."""
    namespace = f"saltern-test-{os.getpid()}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "sleep", "test", "touch", "rm"):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    api.import_image_from_data(buffer.getvalue(), *f"{namespace}/{IMAGE}".split(":"))
    try:
        yield namespace
    finally:
        api.remove_image(f"{namespace}/{IMAGE}", force=True)


@pytest.fixture(scope="module")
def namespace(api: docker.APIClient) -> Iterator[str]:
    """The namespace of an image of a static busybox."""
    with image_of(api) as namespace:
        yield namespace


@pytest.fixture
def web(cloud: Cloud, api: docker.APIClient, namespace: str) -> Iterator[Web]:
    """A cloud whose only service is a container that is up on all hosts."""
    web = Web(cloud, api, namespace)
    web.set_pillar()
    deployed = web.deploy()
    assert deployed.code == 0, deployed.err
    yield web
    for one in api.containers(all=True, filters={"name": f"^/{PREFIX}[a-z]+-web"}):
        api.remove_container(one["Id"], force=True)


class Web:
    """The service `web`: healthy while a file is in its container."""

    def __init__(self, cloud: Cloud, api: docker.APIClient, namespace: str) -> None:
        self.cloud = cloud
        self.api = api
        self.namespace = namespace

    def set_pillar(
        self, enabled: bool = True, tls: bool = False, services: bool = True, **options
    ) -> None:
        """Write the pillar, with or without the service and TLS, or with no word about the service."""
        settings = {
            "services": {"web": {"enabled": enabled}} if services else {},
            "images": {"namespace": self.namespace},
            "tls": {"external": tls, "internal": tls},
        }
        self.cloud.set_pillar(settings=settings, **options)

    def name(self, host: str) -> str:
        return f"{PREFIX}{host}-web"

    def there(self, suffix: str = "") -> set[str]:
        """Return the hosts that have the container."""
        found = self.api.containers(all=True, filters={"name": f"^/{PREFIX}[a-z]+-web"})
        names = {one["Names"][0].lstrip("/") for one in found}
        return {host for host in HOSTS if f"{self.name(host)}{suffix}" in names}

    def execute(self, host: str, *command: str) -> None:
        self.api.exec_start(self.api.exec_create(self.name(host), list(command)))

    def health(self, host: str) -> str:
        return self.api.inspect_container(self.name(host))["State"]["Health"]["Status"]

    def status(self) -> tuple[int, dict[tuple[str, str], dict]]:
        """Return the exit code and the findings by host and name."""
        done = self.cloud.run("saltern.status", "services=[web]", "--out=json")
        assert '"findings"' in done.out, done.out + done.err
        found = json.loads(done.out)["findings"]
        return done.code, {(one["host"], one["name"]): one for one in found}

    def plan(self):
        return self.cloud.run("saltern.plan", "services=[web]")

    def deploy(self):
        return self.cloud.deploy(services=["web"])


def test_where_all_is_well_status_and_plan_say_so(web):
    assert web.status() == (0, {})
    assert "All well." in web.cloud.run("saltern.status", "services=[web]").out
    plan = web.plan()
    assert (plan.code, "Nothing would change." in plan.out) == (0, True), plan.out
    assert "Nothing to change." in web.deploy().err


def test_an_unhealthy_container_is_a_finding_and_no_change_and_a_deployment_waits_for_it(web):
    web.execute("two", "rm", "/tmp/up")
    until(lambda: web.health("two") == "unhealthy")
    code, found = web.status()
    assert code == 1 and list(found) == [("two", "web")]
    assert "unhealthy: exit code 1" in found["two", "web"]["finding"]
    assert "salt two container.restart web" in found["two", "web"]["remedy"]

    plan = web.plan()
    assert plan.code == 1
    assert "is not up: web is unhealthy" in plan.out
    assert "Nothing would change; 1 not up." in plan.out

    failed = web.deploy()
    assert failed.code == 1
    assert "Nothing to change" not in failed.err
    assert "Not up, waited for: web on two." in failed.err
    assert "host    two" in failed.last_block and "is not healthy after" in failed.last_block

    web.execute("two", "touch", "/tmp/up")
    healed = web.deploy()
    assert healed.code == 0, healed.err
    assert "Changed" not in healed.err
    assert web.status() == (0, {})


def test_missing_and_stopped_containers_are_findings_and_a_deployment_brings_them_back(web):
    web.api.remove_container(web.name("one"), force=True)
    web.api.stop(web.name("three"), timeout=0)
    code, found = web.status()
    assert code == 1
    assert found["one", "web"]["finding"] == "missing"
    assert "stopped: Exited" in found["three", "web"]["finding"]
    assert all("orch.deploy" in one["remedy"] for one in found.values())
    shown = web.cloud.run("saltern.status", "services=[web]").out
    assert "missing" in shown and "Not well:" in shown
    plan = web.plan()
    assert plan.code == 1 and "state: exited -> running" in plan.out
    assert web.deploy().code == 0
    assert web.status() == (0, {})


def test_a_silent_host_is_a_finding_and_the_others_are_shown(web):
    with web.cloud.silent("two"):
        done = web.cloud.run("saltern.status", "services=[web]", "--out=json")
    shown = json.loads(done.out)
    assert done.code == 1
    assert set(shown["status"]) == {"one", "three"}
    assert [one["host"] for one in shown["findings"]] == ["two"]


def test_what_a_failed_replacement_left_is_named_and_goes_when_the_mistake_is_undone(web):
    web.set_pillar(web={"containers": {"web": {"environment": {"BROKEN": "yes"}}}})
    assert web.deploy().code == 1
    assert web.there(".failed") == {"one"}, "the others were not touched"
    code, found = web.status()
    assert code == 1 and list(found) == [("one", "web.failed")]
    assert "salt one container.logs web.failed" in found["one", "web.failed"]["remedy"]
    web.set_pillar()
    plan = web.plan()
    assert f"failed: {PREFIX}one-web.failed, kept for inspection -> (none)" in plan.out
    assert web.deploy().code == 0
    assert web.there(".failed") == set()
    assert web.status() == (0, {})
    assert web.plan().out.strip().endswith("Nothing would change.")


def test_a_certificate_that_is_gone_is_noticed_by_a_host_that_had_nothing_to_change(web):
    web.set_pillar(tls=True)
    made = web.cloud.run("state.orchestrate", "orch.certificates", services=["web"])
    assert made.code == 0, made.err
    assert web.deploy().code == 0
    assert web.plan().code == 0
    var = web.cloud.folder / "minions/two/var"
    assert (var / "planned").exists(), "the host has noted on what its plan depended"
    (var / "certificates/web/external.pem").unlink()
    plan = web.plan()
    assert "Deliver the certificates of web" in plan.out, plan.out
    assert web.deploy().code == 0
    assert (var / "certificates/web/external.pem").exists()


def test_a_disabled_service_stays_is_named_and_removed_by_the_command_that_is_named(web):
    web.set_pillar(enabled=False)
    whole = web.cloud.run("saltern.status", "--out=json")
    found = [one for one in json.loads(whole.out)["findings"] if one["name"] == "web"]
    assert whole.code == 1
    assert [one["host"] for one in found] == list(HOSTS)
    assert all("orch.destroy" in one["remedy"] for one in found)
    assert web.cloud.deploy().code == 0
    plan = web.cloud.run("saltern.plan")
    assert plan.code == 0 and "Would stay" in plan.out and found[0]["remedy"] in plan.out
    assert "Would stay, as no service wants them: web on one" in web.cloud.deploy().err
    assert web.there() == set(HOSTS), "nothing is removed by itself"

    destroy = ("state.orchestrate", "orch.destroy")
    typo = web.cloud.run(*destroy, services=["wep"], confirm="yes")
    assert typo.code == 1 and "no host has anything of wep" in typo.last_block
    asked = web.cloud.run(*destroy, services=["web"])
    assert asked.code == 1 and "one: removes containers web" in asked.err
    assert web.there() == set(HOSTS)
    assert web.cloud.run(*destroy, services=["web"], hosts=["two"], confirm="yes").code == 0
    assert web.there() == {"one", "three"}
    folder = web.cloud.folder / "formulas/web"
    folder.rename(web.cloud.folder / "web")
    try:
        web.set_pillar(services=False)
        gone = web.cloud.run(*destroy, services=["web"], confirm="yes")
    finally:
        (web.cloud.folder / "web").rename(folder)
    assert gone.code == 0, gone.err
    assert web.there() == set()
    assert all(found == ["alpha", "beta", "gamma"] for found in web.cloud.written().values())


@pytest.fixture
def oracle(cloud: Cloud) -> Cloud:
    """A cloud in which `oracle` asks `alpha` in test mode, as services ask their database."""
    cloud.set_pillar(settings={"services": {"oracle": ON}})
    return cloud


def test_what_cannot_be_asked_yet_is_no_change_and_a_deployment_asks_again(oracle):
    limits = ("services=[alpha, oracle]", "hosts=[one]")
    plan = oracle.run("saltern.plan", *limits)
    assert plan.code == 1
    assert "cannot be asked: there is no alpha" in plan.out
    assert "1 state of 1 service would change; 1 could not be asked." in plan.out
    first = oracle.deploy(services=["alpha", "oracle"], hosts=["one"])
    assert first.code == 0, first.err
    assert "Changes: alpha on one. Cannot be asked yet: oracle on one." in first.err
    assert "Nothing to change." in oracle.deploy(services=["alpha", "oracle"], hosts=["one"]).err
    assert oracle.run("saltern.plan", *limits).code == 0


def test_what_nothing_in_the_run_makes_answer_fails_it(oracle):
    failed = oracle.deploy(services=["oracle"], hosts=["one"])
    assert failed.code == 1
    assert "Nothing to change" not in failed.err
    assert "state   Ask alpha" in failed.last_block
    assert "there is no alpha" in failed.last_block
