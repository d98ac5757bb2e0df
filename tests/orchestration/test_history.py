"""What the master keeps of runs: those that changed something, failed, were interrupted or killed."""

from __future__ import annotations

import json
import signal
import subprocess

from .conftest import until


def kept(cloud):
    """Return the runs that are kept, the newest last."""
    done = cloud.run("saltern.history", "--out=json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    return found.get("data", found)["history"]


def states(run, service):
    """Return host to how many states of a service have changed something there."""
    return {host: one["states"] for host, one in run["services"][service].items()}


def test_each_run_is_kept_with_what_it_changed_where_and_those_without_a_change_are_one(cloud):
    first = cloud.deploy()
    assert first.code == 0, first.err
    for _ in range(2):
        assert cloud.deploy().code == 0
    cloud.set_pillar(beta={"content": "second"})
    assert cloud.run("state.orchestrate", "orch.deploy", "test=True").code == 0
    assert cloud.deploy(services=["beta"], hosts=["one"]).code == 0
    first, same, last = kept(cloud)
    assert first["result"] == "done"
    assert states(first, "alpha") == dict.fromkeys(cloud.hosts, 1)
    assert (same["times"], same["services"]) == (2, {})
    assert (list(last["services"]), states(last, "beta")) == (["beta"], {"one": 1})
    (part,) = last["services"]["beta"].values()
    assert 0 <= part["seconds"] <= part["ended"] <= last["seconds"]
    typed = """salt-run state.orchestrate orch.deploy pillar='{"services": ["beta"], "hosts": ["one"]}'"""
    assert last["command"] == typed
    shown = cloud.run("saltern.history")
    assert shown.code == 0, shown.err
    assert "    alpha, beta, gamma: one, three, two" in shown.out
    assert "nothing to do" in shown.out
    assert shown.out.rstrip().endswith("    beta: one")
    whole = cloud.run("saltern.history", f"run={last['id']}")
    assert whole.code == 0, whole.err
    assert "  beta on one: 1 state changed" in whole.out
    assert "Ask every host what would change" in whole.out
    folder = cloud.folder / "var/history"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_an_unknown_run_is_an_error_that_names_the_known_ones(cloud):
    assert cloud.deploy().code == 0
    (run,) = kept(cloud)
    wrong = cloud.run("saltern.history", "run=20261128000000000000")
    assert wrong.code == 1
    assert run["id"] in wrong.out + wrong.err


def test_of_a_failed_run_what_it_had_changed_and_why_it_failed_are_kept(cloud):
    cloud.set_pillar(beta={"broken_on": ["two"]})
    assert cloud.deploy().code == 1
    assert cloud.deploy(services=["alfa"]).code == 1
    failed, refused = kept(cloud)
    assert failed["result"] == refused["result"] == "failed"
    assert states(failed, "alpha")["three"] == 1
    assert failed["services"]["beta"]["two"]["ok"] is False
    (failure,) = failed["failures"]
    assert (failure["host"], failure["state"]) == ("two", "Stop beta at the gate")
    assert "alfa" in refused["failures"][0]["reason"]
    shown = cloud.run("saltern.history").out
    assert "    FAILED two beta: The gate of beta is shut." in shown


def test_a_secret_that_a_state_says_is_not_kept(cloud):
    init = cloud.folder / "formulas/beta/init.sls"
    good = init.read_text()
    init.write_text(
        "Fail:\n  test.configurable_test_state:\n    - result: {{ opts['test'] }}\n"
        "    - changes: True\n"
        "    - comment: the password is {{ pillar['cloud']['secrets']['beta']['password'] }}\n"
    )
    try:
        assert cloud.deploy().code == 1
    finally:
        init.write_text(good)
    (run,) = (cloud.folder / "var/history").iterdir()
    assert "the password is ***" in run.read_text()
    assert cloud.secret not in run.read_text()


def test_a_killed_run_shows_as_such_with_what_it_had_done(cloud):
    cloud.set_pillar(beta={"slow": 15})

    def written():
        return [
            json.loads(one.read_text()) for one in (cloud.folder / "var/history").glob("*.json")
        ]

    with cloud.started("state.orchestrate", "orch.deploy") as first:
        # While beta goes on: alpha's hosts are on disk although nothing has happened since.
        until(lambda: any(len(one["services"].get("alpha", {})) == 3 for one in written()))
        assert [one["result"] for one in written()] == ["running"]
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=10)
    (run,) = kept(cloud)
    assert run["result"] == "killed"
    assert states(run, "alpha")["one"] == 1
    shown = cloud.run("saltern.history", "run=last").out
    assert "result   was killed" in shown
    assert cloud.deploy().code == 0
    assert [one["result"] for one in kept(cloud)] == ["killed", "done"]


def test_an_interrupted_run_is_kept_as_such(cloud):
    cloud.set_pillar(alpha={"slow": 3})
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    with cloud.started("state.orchestrate", "orch.deploy", **quiet) as first:
        until(lambda: cloud.jobs("state.sls"))
        first.send_signal(signal.SIGINT)
        first.wait(timeout=60)
    (run,) = kept(cloud)
    assert run["result"] == "interrupted"
    assert cloud.deploy().code == 0


def test_the_pillar_says_how_many_runs_are_kept(cloud):
    cloud.set_pillar(settings={"history": {"runs": 5}})
    wrong = cloud.deploy()
    assert wrong.code == 1
    assert "saltern:history:runs" in wrong.last_block
