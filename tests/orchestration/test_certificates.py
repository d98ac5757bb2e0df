"""Certificates of a real master: made, delivered, renewed; a broken one stops a run before it changes anything."""

from __future__ import annotations

TLS = {"tls": {"external": True, "internal": True}}


def test_certificates_are_made_delivered_and_renewed_and_a_broken_one_is_left_alone(cloud):
    cloud.set_pillar(settings=TLS)
    path = cloud.folder / "certificates/external.pem"

    def delivered():
        folders = [cloud.folder / "minions" / host / "var/certificates" for host in cloud.hosts]
        return {(one / "alpha/external.pem").read_text() for one in folders}

    refused = cloud.deploy()
    assert refused.code == 1
    assert "external.pem: is missing" in refused.last_block
    assert "orch.certificates" in refused.last_block
    assert cloud.jobs("saltern.plan") == []

    made = cloud.run("state.orchestrate", "orch.certificates")
    assert made.code == 0, made.err + made.out
    first = path.read_text()
    assert delivered() == {first}
    assert first.splitlines()[-2] not in made.out + made.err
    assert "127.0.1.100" in cloud.run("saltern.status", "certificates=True").out
    assert "external" not in cloud.run("saltern.status").out

    assert cloud.run("state.orchestrate", "orch.certificates").code == 0
    assert path.read_text() == first

    renewed = cloud.run("state.orchestrate", "orch.certificates", days=400)
    assert renewed.code == 0, renewed.err
    assert path.read_text() != first
    assert delivered() == {path.read_text()}

    assert "No certificate is due" in cloud.run("saltern.renew_certificates").out
    second = path.read_text()
    assert "Renewed external" in cloud.run("saltern.renew_certificates", "days=400").out
    assert second != path.read_text()
    assert delivered() == {path.read_text()}

    path.write_text("nonsense")
    broken = cloud.run("state.orchestrate", "orch.certificates", days=400)
    assert broken.code == 1
    assert f"{path}: holds no certificate in PEM form" in broken.last_block
    assert path.read_text() == "nonsense"
