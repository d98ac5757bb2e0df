"""What a run ends with on the screen."""

from __future__ import annotations

from saltern.run import summary


def phase(function, number, changes=None, result=True, comment="Done.", seconds=1.0, **more):
    """Return what a phase returns, by its tag."""
    one = {"__run_num__": number, "changes": changes or {}, "result": result, "comment": comment}
    tag = f"rollout_|-Phase {number}_|-Phase {number}_|-{function}"
    return {tag: {**one, "duration": seconds * 1000, **more}}


def test_nothing_changed_is_one_line():
    running = phase("validated", 0) | phase("applied", 1, comment="Nothing to change.")
    assert summary.text(running) == "Nothing to change. (2.0 s)"


def test_services_that_changed_on_the_same_hosts_share_a_line():
    hosts = dict.fromkeys(["c1", "c2"], 2)
    changes = {"keystone": hosts, "glance": hosts, "nova-compute": {"n1": 1}}
    running = phase("applied", 1, changes, comment="Changed 3 services on 3 hosts.", seconds=148)
    assert summary.text(running) == (
        "Done in 2 min 28 s.\n"
        "  Changed 3 services on 3 hosts.\n"
        "    glance, keystone: c1, c2\n"
        "    nova-compute: n1"
    )


def test_of_many_hosts_some_are_named():
    hosts = {f"n{number}": 1 for number in range(100)}
    running = phase("applied", 1, {"nova-compute": hosts})
    assert "nova-compute: n0, n1, n10, n11, n12, n13 and 94 more" in summary.text(running)


def test_it_says_what_is_next_if_something_changed():
    first = phase("validated", 0, next="salt-run x")
    changed = phase("called", 1, {"one": {"web": "stopped"}}, comment="Changed 1 of 1 host.")
    assert summary.text(first | changed).endswith("  Changed 1 of 1 host.\nNext: salt-run x")
    assert "Next" not in summary.text(first | phase("called", 1))


def test_test_mode_says_that_nothing_was_changed():
    running = phase("validated", 0, next="x") | phase("applied", 1, {"web": ["one"]}, result=None)
    said = summary.text(running)
    assert said.startswith("Nothing was changed: this was test mode")
    assert "web: one" in said
    assert "Next" not in said


def test_a_failed_run_has_its_own_last_word():
    assert summary.text(phase("validated", 0) | phase("planned", 1, result=False)) == ""


def test_only_tables_of_phases_are_runs():
    assert summary.is_run(phase("validated", 0))
    assert not summary.is_run({"file_|-x_|-x_|-managed": {"result": True}})
    assert not summary.is_run(["Rendering SLS failed"])
    assert not summary.is_run({})
