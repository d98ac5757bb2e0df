"""Options of images: names made of them, and every mistake named with its remedy."""

import pytest

from saltern.errors import SalternError
from saltern.images.options import Options, problems, schema


def options(release="2026.2", **images):
    return Options.from_pillar({"saltern": {"release": release, "images": images}})


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ({}, "saltern/keystone:2026.2"),
        ({"registry": "r.example.org:5000"}, "r.example.org:5000/saltern/keystone:2026.2"),
        ({"namespace": "cloud", "tag": "7"}, "cloud/keystone:7"),
    ],
)
def test_the_full_name_has_registry_namespace_and_tag(images, name):
    assert options(**images).name("keystone") == name


def test_a_call_wins_over_the_pillar_and_the_pillar_over_defaults():
    pillar = {"saltern": {"images": {"jobs": 3}}}
    chosen = Options.from_pillar(pillar, {"base": "ubuntu", "tag": None}, {"jobs": 9, "tag": "d"})
    assert (chosen.base, chosen.jobs, chosen.tag) == ("ubuntu", 3, "d")


def test_proxies_are_given_in_both_spellings_and_only_if_set():
    found = options(http_proxy="http://p:1", no_proxy="localhost").proxies()
    assert found == dict.fromkeys(["http_proxy", "HTTP_PROXY"], "http://p:1") | dict.fromkeys(
        ["no_proxy", "NO_PROXY"], "localhost"
    )


def test_the_schema_and_the_fields_agree():
    defaults = {key: one["default"] for key, one in schema()["properties"].items()}
    fields = vars(Options())
    assert {key: fields[key] for key in defaults} == defaults
    assert set(fields) - set(defaults) == {"release"}


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ({"bse": "debian"}, "saltern:images:bse: unknown option 'bse'. Did you mean 'base'"),
        ({"base": "debain"}, "saltern:images:base: found 'debain'.*Did you mean 'debian'"),
        ({"jobs": "two"}, "saltern:images:jobs: found 'two'"),
        ({"sources": {"keystone": {"type": "gti"}}}, "sources:keystone:type.*Did you mean 'git'"),
        (
            {"sources": {"keystone": {"type": "git", "location": "x"}}},
            "sources:keystone:reference: is missing",
        ),
    ],
)
def test_a_mistake_names_key_value_and_remedy(images, says):
    with pytest.raises(SalternError, match=says):
        options(**images)


def test_a_release_without_lock_is_a_problem():
    (problem,) = problems({}, "2026.3", ["2025.1", "2026.2"])
    assert "unknown release '2026.3'" in str(problem)
    assert "2026.2" in problem.remedy
