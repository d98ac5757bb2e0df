"""A deployment across three hosts: order, failures, limits and what happens to killed runs."""


def test_deploy_applies_all_services_and_a_second_one_nothing(cloud):
    first = cloud.deploy()
    assert first.code == 0, first.err + first.out
    assert cloud.written() == dict.fromkeys(cloud.hosts, ["alpha", "beta", "gamma"])
    second = cloud.deploy()
    assert second.code == 0
    assert "Nothing to change." in second.out
