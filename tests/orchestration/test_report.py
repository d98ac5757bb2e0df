"""The report of a cloud that runs: written for its owner alone, also if a host is silent."""

from __future__ import annotations

import json


def test_a_page_is_written_with_the_hosts_the_services_and_the_last_run(cloud):
    assert cloud.deploy().code == 0
    done = cloud.run("saltern.report")
    assert done.code == 0, done.out + done.err
    (path,) = cloud.folder.glob("var/report*")
    assert f"Wrote {path}: all well" in done.out
    assert path.stat().st_mode & 0o777 == 0o600
    page = path.read_text()
    assert all(f"<b>{host}</b>" in page for host in cloud.hosts)
    assert all(f"{service}: well, 3 hosts" in page for service in ("alpha", "beta", "gamma"))
    assert "salt-run state.orchestrate orch.deploy" in page and 'class="bar-service"' in page
    assert cloud.secret not in page
    # Looking changes nothing, and is not kept.
    assert len(list((cloud.folder / "var/history").iterdir())) == 1


def test_a_silent_host_is_shown_as_such_and_the_exit_code_is_that_of_the_status(cloud):
    assert cloud.deploy().code == 0
    path = cloud.folder / "var/other.html"
    with cloud.silent("two"):
        done = cloud.run("saltern.report", f"path={path}", "--out=json")
    assert done.code == 1
    told = json.loads(done.out)["report"]
    assert told["path"] == str(path)
    assert [one["host"] for one in told["findings"]] == ["two"]
    page = path.read_text()
    assert "no answer" in page and "1 finding" in page


def test_a_wrong_path_is_refused_before_a_host_is_asked(cloud):
    cloud.forget_jobs()
    done = cloud.run("saltern.report", "path=/nowhere/cloud.html")
    assert done.code == 1
    assert "path: there is no folder /nowhere" in done.out
    assert cloud.jobs("saltern.status") == []
