"""The spec of a container: what it takes, its normal form, its differences."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from saltern.containers.spec import Change, Spec, diff
from saltern.errors import SalternError

BASE = {"name": "web", "image": "saltern/web:1"}


def spec(**fields):
    """Return a spec with these fields."""
    return Spec.from_dict({**BASE, **fields})


def test_defaults_are_safe():
    """Without a word: no capability, no new privileges, read-only root, bounded logs."""
    one = spec()
    assert one.cap_drop == ("ALL",)
    assert one.security_opt == ("no-new-privileges",)
    assert one.read_only is True
    assert one.privileged is False
    assert one.restart_policy == "unless-stopped"
    assert one.log_options == {
        "driver": "json-file",
        "max-size": "10m",
        "max-file": "5",
        "labels": "saltern.prefix,saltern.service",
        "tag": "{{.Name}}",
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"environment": {"A": "1", "B": "2"}}, {"environment": {"B": 2, "A": 1}}),
        ({"volumes": ["a:/a", "/b:/b:ro"]}, {"volumes": ["/b:/b:ro", "a:/a:rw"]}),
        ({"cap_add": ["NET_ADMIN", "SYS_NICE"]}, {"cap_add": ["CAP_SYS_NICE", "net_admin"]}),
        ({"memory": "512m"}, {"memory": 512 << 20}),
        ({"ulimits": {"nofile": 20000}}, {"ulimits": {"nofile": {"soft": 20000, "hard": 20000}}}),
        ({"healthcheck": {"test": ["check"]}}, {"healthcheck": {"test": ["CMD", "check"]}}),
        ({"healthcheck": {"test": ["check"]}}, {"healthcheck": {"test": ["check"], "retries": 3}}),
        ({"stop_signal": "QUIT"}, {"stop_signal": "SIGQUIT"}),
        ({"devices": ["/dev/kvm"]}, {"devices": ["/dev/kvm:/dev/kvm:rwm"]}),
        ({"restart_policy": False}, {"restart_policy": "no"}),
        ({"user": 42}, {"user": "42"}),
        ({"log_options": {"max-file": 5}}, {}),
        ({"hostname": None}, {}),
        ({"deadline": 10}, {"deadline": 20}),
        ({"image": "saltern/web:2"}, {"image": "saltern/web:1"}),
    ],
)
def test_what_means_the_same_has_the_same_digest(one, other):
    """Order and notation do not matter; image and deadline are compared elsewhere or not at all."""
    assert spec(**one).digest == spec(**other).digest
    assert diff(spec(**one), spec(**other)) == []


def test_order_of_a_command_matters():
    """A command is no set."""
    assert spec(command=["a", "b"]).digest != spec(command=["b", "a"]).digest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"volums": []}, ["unknown field 'volums'", "did you mean 'volumes'?"]),
        ({"restart_policy": "always"}, ["restart_policy", "found 'always'", "unless-stopped"]),
        ({"restart_policy": "unless-stoped"}, ["did you mean 'unless-stopped'?"]),
        ({"memory": "lots"}, ["memory", "found 'lots'", "512m"]),
        ({"memory": True}, ["memory", "found True"]),
        ({"cap_add": ["NET_ADMN"]}, ["cap_add", "did you mean 'NET_ADMIN'?"]),
        ({"volumes": ["a:b"]}, ["volumes", "source:target"]),
        ({"volumes": ["a:/b:rx"]}, ["volumes", "modes"]),
        ({"volumes": ["a:/b", "c:/b/"]}, ["/b is there twice"]),
        ({"command": "run me"}, ["command", "found 'run me'", "a list"]),
        ({"privileged": "yes"}, ["privileged", "true or false"]),
        ({"ulimits": {"nofiles": 1}}, ["ulimits", "did you mean 'nofile'?"]),
        ({"healthcheck": {"test": ["x"], "intervall": 1}}, ["did you mean 'interval'?"]),
        ({"healthcheck": ["x"]}, ["healthcheck", "a map with test"]),
        ({"network_mode": "hots"}, ["network_mode", "did you mean 'host'?"]),
        ({"stop_signal": "SIGSTOPP"}, ["stop_signal", "did you mean 'SIGSTOP'?"]),
        ({"tmpfs": ["tmp"]}, ["tmpfs", "absolute path"]),
        ({"devices": ["/dev/kvm:/dev/kvm:x"]}, ["devices", "rwm"]),
        ({"cpus": 0}, ["cpus", "0.01 or more"]),
        ({"labels": {"saltern.spec": "x"}}, ["labels", "saltern.spec"]),
        ({"security_opt": ["secomp=unconfined"]}, ["did you mean 'seccomp'?"]),
        ({"environment": ["A=1"]}, ["environment", "a map"]),
        ({"environment": {"A": None}}, ["environment", "A has NoneType"]),
        ({"name": "web.next"}, ["name", "found 'web.next'"]),
    ],
)
def test_bad_input_names_field_found_and_allowed(fields, words):
    """One message, and the nearest name where there is one."""
    with pytest.raises(SalternError) as error:
        spec(**fields)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("missing", ["name", "image"])
def test_required_fields(missing):
    """The message names the one that is missing."""
    fields = {key: value for key, value in BASE.items() if key != missing}
    with pytest.raises(SalternError, match=f"'{missing}' is missing"):
        Spec.from_dict(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": {"DB_PASSWORD": "s3cret"}},
        {"environment": {"token": "s3cret"}},
        {"environment": {"URL": "mysql://user:s3cret@host/"}},
        {"command": ["migrate", "mysql://user:s3cret@host/"]},
        {"healthcheck": {"test": ["curl", "http://user:s3cret@host/"]}},
    ],
)
def test_secrets_are_refused_and_not_repeated(fields):
    """`docker inspect` shows environment and command, and so would an error."""
    with pytest.raises(SalternError) as error:
        spec(**fields)
    assert "s3cret" not in str(error.value)


def test_names_of_secret_files_and_empty_values_are_no_secrets():
    """What is refused is a value."""
    one = spec(environment={"PASSWORD_FILE": "/run/x", "SECRET": "", "LANG": "C"})
    assert one.environment["PASSWORD_FILE"] == "/run/x"


def test_differences_are_told_field_by_field():
    """Maps entry by entry, all sorted."""
    old = spec(environment={"A": "1", "B": "1"}, memory="1g")
    new = spec(environment={"B": "2", "C": "1"}, memory="2g")
    assert diff(old, new) == [
        Change("environment.A", "1", None),
        Change("environment.B", "1", "2"),
        Change("environment.C", None, "1"),
        Change("memory", 1 << 30, 2 << 30),
    ]


def test_a_field_that_an_older_saltern_did_not_know_is_no_change():
    """Else its update would replace every container."""
    old = spec().normalised()
    del old["init"]
    assert diff(old, spec()) == []
    assert diff(old, spec(init=True)) == [Change("init", False, True)]


def test_a_changed_default_is_a_change():
    """The label holds all fields, not only those that were written."""
    old = {**spec().normalised(), "stop_timeout": 10}
    assert diff(old, spec()) == [Change("stop_timeout", 10, 30)]


def test_a_privileged_container_may_gain_privileges_unless_told():
    """sudo and rootwrap work in it."""
    assert spec(privileged=True).security_opt == ()
    assert spec(privileged=True).cap_drop == ()
    told = spec(privileged=True, security_opt=["no-new-privileges:true"])
    assert told.security_opt == ("no-new-privileges",)


def test_every_field_is_documented(pytestconfig):
    """docs/containers.md has a row for each, and for no other."""
    page = (pytestconfig.rootpath / "docs/containers.md").read_text()
    table = page.partition("## Fields")[2].partition("**Secrets**")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == {one.name for one in fields(Spec)}
