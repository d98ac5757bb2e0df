"""Tempest from the inside of its container: suite.py [AREA ...]

Makes what the tests need, writes tempest.conf into memory, runs the tests, writes /results, takes away what
was made. The cloud is OS_CLOUD of clouds.yaml; which tests run is in tests.yml.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack
import subunit
import testtools
import yaml

SUITE = Path(__file__).parent
RESULTS = Path("/results")
WORK = Path("/tmp/tempest")
CONFIG = WORK / "etc/tempest.conf"
# All that Tempest makes begins with this word, and is taken away by it.
NAME = "tempest"
FLAVORS = {f"{NAME}-small": 128, f"{NAME}-large": 160}
OUTCOMES = {"success": "passed", "skip": "skipped", "xfail": "passed"}


class Selection:
    """What tests.yml chooses of all tests."""

    def __init__(self, names: Iterable[str], areas: Iterable[str]) -> None:
        self.data = yaml.safe_load((SUITE / "tests.yml").read_text())
        if unknown := set(areas) - set(self.data["areas"]):
            raise SystemExit(
                f"no area {', '.join(unknown)}; there are {', '.join(self.data['areas'])}"
            )
        self.areas: dict[str, str] = {}
        self.excluded: dict[str, str] = {}
        for name in names:
            area = self.area(name)
            if area and (not areas or area in areas):
                self.areas[name] = area
                if reason := self.reason(name):
                    self.excluded[name] = reason

    def area(self, name: str) -> str | None:
        """Return the area of a test, None if it is not chosen."""
        for area, patterns in self.data["areas"].items():
            if any(re.search(pattern, name) for pattern in patterns):
                return area
        return None

    def reason(self, name: str) -> str | None:
        """Return why a test is left out."""
        for one in self.data["excluded"]:
            if re.search(one["tests"], name):
                return one["because"]
        return None

    @property
    def chosen(self) -> list[str]:
        """The tests to run."""
        return [name for name in self.areas if name not in self.excluded]


@contextmanager
def prepared(cloud: Any) -> Iterator[dict[str, dict[str, Any]]]:
    """Make flavors and a project with a user for stacks; give the settings that name them."""
    image = cloud.image.find_image("demo")
    outside = next(iter(cloud.network.networks(is_router_external=True)), None)
    if not image or not outside:
        raise SystemExit("no image demo or no external network: run make demo first")
    remove(cloud)
    try:
        small, large = (
            cloud.compute.create_flavor(name=name, ram=ram, vcpus=1, disk=1).id
            for name, ram in FLAVORS.items()
        )
        password = secrets.token_urlsafe(24)
        project = cloud.identity.create_project(name=NAME, domain_id="default")
        user = cloud.identity.create_user(
            name=NAME, password=password, domain_id="default", default_project_id=project.id
        )
        role = cloud.identity.find_role("member")
        cloud.identity.assign_project_role_to_user(project, user, role)
        auth = cloud.config.auth
        keystone = cloud.endpoint_for("identity", interface="public").rstrip("/")
        keystone = keystone.removesuffix("/v3") + "/v3"
        yield {
            "auth": {
                "admin_username": auth["username"],
                "admin_password": auth["password"],
                "admin_project_name": auth["project_name"],
                "admin_domain_name": auth["user_domain_name"],
            },
            "identity": {"uri_v3": keystone, "region": cloud.config.region_name},
            "compute": {
                "image_ref": image.id,
                "image_ref_alt": image.id,
                "flavor_ref": small,
                "flavor_ref_alt": large,
            },
            "network": {
                "public_network_id": outside.id,
                "floating_network_name": outside.name,
            },
            "network-feature-enabled": {
                "api_extensions": ",".join(one.alias for one in cloud.network.extensions())
            },
            "dashboard": {"dashboard_url": os.environ["DASHBOARD"]},
            "heat_plugin": {
                "auth_url": keystone,
                "username": NAME,
                "password": password,
                "project_name": NAME,
                "admin_username": auth["username"],
                "admin_password": auth["password"],
                "admin_project_name": auth["project_name"],
                "user_domain_name": auth["user_domain_name"],
                "project_domain_name": auth["user_domain_name"],
                "region": cloud.config.region_name,
                "floating_network_name": outside.name,
                "image_ref": image.name,
                "minimal_image_ref": image.name,
                "instance_type": f"{NAME}-small",
                "minimal_instance_type": f"{NAME}-small",
            },
        }
    finally:
        remove(cloud)


def remove(cloud: Any) -> None:
    """Take away what `prepared` makes, now or in a run that was killed."""
    for found, delete in (
        (cloud.identity.find_user(NAME), cloud.identity.delete_user),
        (cloud.identity.find_project(NAME), cloud.identity.delete_project),
        *((cloud.compute.find_flavor(name), cloud.compute.delete_flavor) for name in FLAVORS),
    ):
        if found:
            delete(found)


def configure(settings: dict[str, dict[str, Any]]) -> None:
    """Write tempest.conf, for this user alone, where the container forgets it."""
    parser = configparser.RawConfigParser()
    parser.read(SUITE / "tempest.conf")
    for section, values in settings.items():
        for key, value in values.items():
            if not parser.has_section(section):
                parser.add_section(section)
            # oslo.config would put another option's value in the place of $name.
            parser.set(section, key, str(value).replace("$", "$$"))
    CONFIG.unlink(missing_ok=True)
    with open(os.open(CONFIG, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        parser.write(file)


def tempest(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of Tempest with all its workers, and end them if we are told to end."""
    command = ["tempest", *arguments]
    process = subprocess.Popen(command, cwd=WORK, text=True, start_new_session=True, **more)
    try:
        out, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out)


def outcomes(selection: Selection) -> list[dict[str, Any]]:
    """Return what became of every selected test, also of those whose class never came to start."""
    stream = subprocess.run(
        ["stestr", "last", "--subunit"], cwd=WORK, stdout=subprocess.PIPE, check=False
    ).stdout
    (RESULTS / "results.subunit").write_bytes(stream)
    events: list[dict[str, Any]] = []
    catcher = testtools.StreamToDict(events.append)
    catcher.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(stream), non_subunit_name="output").run(catcher)
    catcher.stopTestRun()
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        outcome = OUTCOMES.get(event["status"], "failed")
        text = "\n".join(
            one.as_text().strip()
            for one in event["details"].values()
            if one.content_type.type == "text"
        )
        start, end = event["timestamps"]
        seconds = (end - start).total_seconds() if start and end else 0.0
        whole = re.fullmatch(r"(?:setUp|tearDown)Class \((.+)\)", event["id"])
        names = (
            [event["id"]]
            if not whole
            else [name for name in selection.chosen if name.startswith(f"{whole[1]}.")]
        )
        for name in names:
            if whole and outcome == "passed":
                continue
            found[name] = {"outcome": outcome, "seconds": round(seconds, 1), "text": text}
    for name, reason in selection.excluded.items():
        found[name] = {"outcome": "skipped", "seconds": 0.0, "text": reason}
    for name in selection.areas:
        found.setdefault(name, {"outcome": "failed", "seconds": 0.0, "text": "It did not run."})
    return [
        {"test": name, "area": selection.area(name), **one}
        for name, one in sorted(found.items())
        if name in selection.areas
    ]


def main() -> int:
    """Do it all; the exit code says whether every test passed or was skipped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cloud = openstack.connect()
    subprocess.run(["tempest", "init", str(WORK)], stdout=subprocess.DEVNULL, check=True)
    with prepared(cloud) as settings:
        configure(settings)
        config = ("--config-file", str(CONFIG))
        listed = tempest("run", *config, "--list-tests", stdout=subprocess.PIPE).stdout
        selection = Selection(listed.splitlines(), sys.argv[1:])
        (WORK / "chosen").write_text("".join(f"{name}\n" for name in selection.chosen))
        print(f"{len(selection.chosen)} tests", flush=True)
        tempest("run", *config, "--load-list", str(WORK / "chosen"), "--concurrency", "2")
        results = outcomes(selection)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return int(any(one["outcome"] == "failed" for one in results))


if __name__ == "__main__":
    sys.exit(main())
