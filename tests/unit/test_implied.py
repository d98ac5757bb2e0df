"""What the words of a service.yml imply, and how one service is laid over common data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from saltern.cloud import formulas
from saltern.errors import SalternError

COMMON = {
    "roles": ["control"],
    "requires": ["cache"],
    "secrets": {"key": {}},
    "database": {"name": "{service}"},
    "volumes": {"{service}-pyc": "cache"},
    "container_defaults": {"volumes": ["{service}-pyc:/pyc"], "tmpfs": ["/tmp"]},
    "tasks": {"check": {"phase": "check", "command": ["check", "/etc/{service}/x"]}},
    "oslo": {"namespaces": ["oslo.db"]},
}


def load(tmp_path: Path, services: dict[str, Any], **common: Any) -> formulas.Catalog:
    for name, data in services.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "service.yml").write_text(yaml.safe_dump({"summary": name, **data}))
    (tmp_path / "_common").mkdir()
    for name, data in ({"base": COMMON} | common).items():
        (tmp_path / "_common" / f"{name}.yml").write_text(yaml.safe_dump(data))
    return formulas.load([tmp_path])


def test_a_service_is_laid_over_what_it_is_like(tmp_path):
    own = {
        "like": "base",
        "requires": ["server"],
        "secrets": {"key": None, "other": {}},
        "oslo": {"namespaces": ["one"], "exclude_groups": ["x"]},
        "containers": {"one-api": {"command": ["run"], "volumes": ["one:/data"]}},
        "volumes": {"one": "data"},
    }
    one = load(tmp_path, {"one": own})["one"]
    assert one["requires"] == ["cache", "server"]
    assert set(one["secrets"]) == {"database_password", "other"}
    assert one["database"] == {"name": "one"}
    assert one["volumes"] == {"one-pyc": "cache", "one": "data"}
    assert one["containers"]["one-api"] == {
        "image": "one",
        "command": ["run"],
        "volumes": ["one-pyc:/pyc", "one:/data"],
        "tmpfs": ["/tmp"],
    }
    namespaces = ["--namespace=oslo.db", "--namespace=one", "--exclude-group=x"]
    assert one["tasks"]["check"]["command"] == ["check", "/etc/one/x", *namespaces]
    assert one["config_dir"] == "/etc/one"


def test_common_data_may_be_like_others(tmp_path):
    more = {"like": "base", "requires": ["{service}", "more"]}
    catalog = load(tmp_path, {"one": {"like": "more"}}, more=more)
    # No service requires itself.
    assert catalog["one"]["requires"] == ["cache", "more"]


def test_an_api_gets_port_container_file_and_entry(tmp_path):
    api = {"port": 5, "module": "m", "type": "sort", "path": "/v1", "check": "/up", "timeout": "1h"}
    side = {"port": 6, "spare": 7, "module": "s", "external": False, "drain": 5}
    own = {"roles": [], "apis": {"one": api, "side": side}}
    own["containers"] = {"one-api": {"stop_timeout": 9}}
    one = load(tmp_path, {"one": own})["one"]
    common = {"frontend": "http", "tls": True}
    one_port = {"port": 5, "spare": 10005, "external": True, "check": "/up", "timeout": "1h"}
    assert one["ports"] == {
        "one": {**one_port, **common},
        "side": {"port": 6, "spare": 7, "external": False, "check": "/", **common},
    }
    url = "{{ own_url('one', '$(PLACE)') }}/up"
    assert one["containers"]["one-api"] == {
        "image": "one",
        "command": ["uwsgi", "--ini", "/etc/one/uwsgi.ini"],
        "environment": {"MODULE": "m", "LEAVING": "/tmp/leaving"},
        "healthcheck": {"test": ["healthcheck", "http", url], "interval": 30},
        "balanced": "one",
        "leave": ["touch", "/tmp/leaving"],
        "stay": ["rm", "-f", "/tmp/leaving"],
        "stop_timeout": 9,
    }
    assert one["containers"]["side-api"]["drain"] == 5
    assert one["config"] == {
        "uwsgi.ini": {"format": "uwsgi", "template": "uwsgi.ini.j2"},
        "serving.py": {"format": "raw", "template": "serving.py.j2"},
    }
    assert one["identity"]["services"] == {"one": {"type": "sort", "path": "/v1", "port": "one"}}


def test_who_has_a_word_requires_who_provides_it(tmp_path):
    catalog = load(
        tmp_path,
        {
            "sql": {"roles": [], "provides": ["database"]},
            "mq": {"roles": [], "provides": ["broker"]},
            "users": {"roles": [], "provides": ["identity"], "database": {"name": "users"}},
            "one": {
                "roles": [],
                "database": {"name": "one"},
                "broker": {},
                "identity": {"users": {"one": {}, "two": {"password": "two_keystone_password"}}},
            },
        },
    )
    assert catalog["users"]["requires"] == ["sql"]
    assert catalog["one"]["requires"] == ["sql", "mq", "users"]
    assert catalog["one"]["uses_secrets"] == ["mq.password"]
    secrets = ["database_password", "keystone_password", "two_keystone_password"]
    assert list(catalog["one"]["secrets"]) == secrets


def test_a_teardown_is_kept_by_its_container(tmp_path):
    task = {"phase": "teardown", "container": "one", "command": ["end"]}
    own = {"roles": [], "containers": {"one": {}}, "tasks": {"end": task}}
    assert load(tmp_path, {"one": own})["one"]["containers"]["one"]["teardown"] == ["end"]


@pytest.mark.parametrize(
    ("own", "key", "nearest"),
    [
        ({"like": "bse"}, "like", "base"),
        ({"tasks": {"x": {"phase": "deply", "command": []}}}, "tasks:x:phase", "deploy"),
        ({"tasks": {"x": {"phase": "deploy", "comand": []}}}, "tasks:x:comand", "command"),
        ({"containers": {"x": {"helthcheck": {}}}}, "containers:x:helthcheck", "healthcheck"),
        ({"identity": {"users": {"x": {"role": []}}}}, "identity:users:x:role", "roles"),
        ({"apis": {"x": {"prot": 1}}}, "apis:x:prot", "port"),
        ({"provides": ["databse"]}, "provides:0", "database"),
        ({"volumes": {"x": "dat"}}, "volumes:x", "data"),
        ({"serail": 1}, "serail", "serial"),
    ],
)
def test_a_wrong_word_is_told_with_file_key_and_the_nearest(tmp_path, own, key, nearest):
    with pytest.raises(SalternError) as caught:
        load(tmp_path, {"one": {"roles": [], **own}})
    assert f"one/service.yml: {key}: " in str(caught.value)
    assert f"Did you mean {nearest!r}?" in str(caught.value)


def test_a_word_of_before_is_told_with_that_of_today(tmp_path):
    with pytest.raises(SalternError, match="one/service.yml: beside: is called colocated_with now"):
        load(tmp_path, {"one": {"beside": "two"}})


def test_an_edited_file_is_read_anew(tmp_path):
    assert load(tmp_path, {"one": {"like": "base"}})["one"]["requires"] == ["cache"]
    (tmp_path / "_common/base.yml").write_text(yaml.safe_dump(COMMON | {"requires": ["other"]}))
    assert formulas.load([tmp_path])["one"]["requires"] == ["other"]
