"""A deployment across three hosts: order, failures, limits and what happens to killed runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from .conftest import PREFIX, until

SERVICES = ["alpha", "beta", "gamma"]
NAMESPACE = f"saltern-test-deploy-{os.getpid()}"


def test_deploy_applies_all_services_and_a_second_one_nothing(cloud):
    first = cloud.deploy()
    assert first.code == 0, first.err + first.out
    assert cloud.written() == dict.fromkeys(cloud.hosts, SERVICES)
    cloud.forget_jobs()
    second = cloud.deploy()
    assert second.code == 0
    assert "Nothing to change." in second.err
    assert cloud.jobs("state.sls") == []


def test_a_run_ends_with_what_changed_and_without_salts_own_dump(cloud):
    first = cloud.deploy()
    assert first.code == 0, first.err
    changed = first.out.splitlines()
    assert changed[0].startswith("Done in ")
    assert changed[1:] == [
        "  Changed 3 services on 3 hosts.",
        "    alpha, beta, gamma: one, three, two",
        "Next: salt-run saltern.status shows what runs",
    ]
    nothing = cloud.deploy()
    assert re.fullmatch(r"Nothing to change\. \(\d+\.\d s\)\n", nothing.out)
    cloud.set_pillar(beta={"broken_on": ["two"], "content": "second"})
    tested = cloud.run("state.orchestrate", "orch.deploy", "test=True")
    assert tested.out.startswith("Nothing was changed: this was test mode")
    failed = cloud.deploy()
    assert failed.code == 1
    assert failed.out == ""


def test_programs_get_a_run_as_data(cloud):
    done = cloud.run("state.orchestrate", "orch.deploy", "--out=json")
    found = json.loads(done.out)
    (states,) = found.get("data", found).values()
    applied = next(one for tag, one in states.items() if tag.endswith("_|-applied"))
    assert applied["changes"]["alpha"] == dict.fromkeys(cloud.hosts, 1)


def test_only_changed_services_are_applied(cloud):
    cloud.deploy()
    cloud.set_pillar(beta={"content": "second"})
    cloud.forget_jobs()
    result = cloud.deploy()
    assert result.code == 0, result.err
    assert cloud.content("two", "beta") == "second"
    assert {mods for mods, _ in cloud.jobs("state.sls")} == {"beta"}


def test_the_first_host_goes_first_and_what_requires_a_service_waits_for_all_of_it(cloud):
    assert cloud.deploy().code == 0
    assert cloud.jobs("state.sls") == [
        (service, hosts) for service in SERVICES for hosts in (cloud.hosts[:1], cloud.hosts[1:])
    ]


def test_a_failing_step_fails_the_command_with_step_host_and_reason_last(cloud):
    cloud.set_pillar(beta={"broken_on": ["two"]})
    result = cloud.deploy()
    assert result.code == 1
    block = result.last_block
    for text in (
        "FAILED  Apply the changes, service by service",
        "host    two",
        "service beta",
        "state   Stop beta at the gate",
        "reason  The gate of beta is shut.",
        "then    salt-run state.orchestrate orch.deploy",
    ):
        assert text in block
    # What beta was required by has not started; what did not fail is done.
    assert cloud.written()["one"] == ["alpha", "beta"]
    assert cloud.written()["two"] == ["alpha"]
    cloud.set_pillar()
    assert cloud.deploy().code == 0
    assert cloud.written() == dict.fromkeys(cloud.hosts, SERVICES)


def test_the_hosts_after_the_first_go_in_batches_and_as_many_may_fail_as_the_pillar_says(cloud):
    cloud.set_pillar(alpha={"broken_on": ["two"], "serial": 1})
    stopped = cloud.deploy()
    assert stopped.code == 1
    rest = ["rest    as it was:", "alpha: three", "beta, gamma: one, three, two", "then"]
    assert re.search(r"\n\s+".join(rest), stopped.last_block)
    assert cloud.written() == {"one": ["alpha"], "two": [], "three": []}
    cloud.set_pillar(alpha={"broken_on": ["two"], "serial": 1, "max_failures": 1})
    went_on = cloud.deploy()
    assert went_on.code == 1
    assert "host    two" in went_on.last_block
    rest = ["rest    as it was:", "beta, gamma: two", "then"]
    assert re.search(r"\n\s+".join(rest), went_on.last_block)
    assert cloud.written() == {"one": SERVICES, "two": [], "three": SERVICES}
    cloud.set_pillar()
    assert cloud.deploy().code == 0
    assert cloud.written() == dict.fromkeys(cloud.hosts, SERVICES)


def test_a_run_can_be_limited_to_services_and_hosts(cloud):
    result = cloud.deploy(services=["alpha"], hosts=["two"])
    assert result.code == 0, result.err
    assert cloud.written() == {"one": [], "two": ["alpha"], "three": []}


def test_unknown_names_stop_the_run(cloud):
    result = cloud.deploy(services=["alfa"])
    assert result.code == 1
    assert "unknown service 'alfa'. Did you mean 'alpha'?" in result.last_block
    assert not any(cloud.written().values())


def test_a_wrong_pillar_stops_the_run_before_any_host_is_asked(cloud):
    cloud.set_pillar(alpha={"contents": "x"})
    result = cloud.deploy()
    assert result.code == 1
    assert "alpha:contents" in result.last_block
    assert "Did you mean 'content'?" in result.last_block
    assert cloud.jobs("saltern.plan") == []


def test_a_silent_host_fails_the_run_and_is_named(cloud):
    cloud.deploy()
    cloud.set_pillar(alpha={"content": "second"})
    with cloud.silent("two"):
        result = cloud.deploy()
    assert result.code == 1
    assert "host    two" in result.last_block
    assert "does not answer" in result.last_block
    assert cloud.content("one", "alpha") == "first"


def test_a_host_without_a_key_fails_the_run_and_is_named(cloud):
    cloud.set_pillar(hosts=(*cloud.hosts, "four"))
    result = cloud.deploy()
    assert result.code == 1
    assert "key of four is not accepted" in result.last_block


def test_a_held_lock_stops_the_second_run_and_names_the_holder(cloud):
    cloud.set_pillar(alpha={"slow": 5})
    with cloud.started("state.orchestrate", "orch.deploy") as first:
        until(lambda: cloud.jobs("state.sls"))
        second = cloud.deploy()
        assert second.code == 1
        assert f"salt-run state.orchestrate orch.deploy (pid {first.pid}" in second.last_block
        assert first.wait(timeout=120) == 0
    assert cloud.deploy().code == 0


def test_a_killed_run_is_simply_run_again(cloud):
    cloud.set_pillar(alpha={"slow": 3})
    with cloud.started("state.orchestrate", "orch.deploy") as first:
        until(lambda: cloud.jobs("state.sls"))
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=10)
    again = cloud.deploy()
    assert again.code == 0, again.err
    assert "of an earlier run" in again.err
    assert cloud.written() == dict.fromkeys(cloud.hosts, SERVICES)
    assert "Nothing to change." in cloud.deploy().err


def test_an_interrupted_run_says_so_last_and_frees_the_lock(cloud):
    cloud.set_pillar(alpha={"slow": 3})
    pipe = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with cloud.started("state.orchestrate", "orch.deploy", **pipe) as first:
        until(lambda: cloud.jobs("state.sls"))
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=60)
    assert first.returncode != 0
    assert "reason  interrupted" in err[err.index("\nFAILED") :]
    assert "Traceback" not in err + out
    assert cloud.deploy().code == 0


def test_an_interrupted_plan_says_so_without_a_traceback(cloud):
    pipe = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with cloud.silent("two"), cloud.started("saltern.plan", **pipe) as plan:
        # A master that has just started gives silent hosts time to find it.
        until(lambda: cloud.jobs("saltern.plan"), seconds=150)
        plan.send_signal(signal.SIGINT)
        out, err = plan.communicate(timeout=60)
    assert plan.returncode != 0
    assert "interrupted" in out + err
    assert "Traceback" not in out + err


def test_a_run_whose_master_was_killed_blames_the_master(cloud):
    cloud.set_pillar(alpha={"slow": 5})
    pipe = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with cloud.started("state.orchestrate", "orch.deploy", **pipe) as first:
        until(lambda: cloud.jobs("state.sls"))
        cloud.kill("master")
        try:
            out, err = first.communicate(timeout=120)
        finally:
            cloud.restart("master")
    assert first.returncode != 0
    assert "the Salt master has ended during this run" in err[err.index("\nFAILED") :]
    assert "minion does not answer" not in err
    # Salt's own runner still misses its bus after that, in its own words.
    assert "An exception occurred in this state" not in err + out
    # At once: the minions have not found the new master yet.
    until(cloud.listens)
    again = cloud.deploy()
    assert again.code == 0, again.err
    assert cloud.written() == dict.fromkeys(cloud.hosts, SERVICES)


def test_test_mode_changes_nothing(cloud):
    result = cloud.run("state.orchestrate", "orch.deploy", "test=True")
    assert result.code == 0, result.err
    assert not any(cloud.written().values())


def test_another_terminal_can_watch_a_run(cloud):
    with cloud.started("saltern.watch", stdout=subprocess.PIPE, text=True) as watcher:
        assert "Waiting" in watcher.stdout.readline()
        cloud.deploy()
        watcher.send_signal(signal.SIGINT)
        out, _ = watcher.communicate(timeout=60)
    assert "Apply the changes, service by service ..." in out
    assert "three: gamma: 1 state changed" in out
    assert "100% " in out
    assert "Traceback" not in out


def test_no_secret_reaches_the_job_cache_or_the_screen(cloud):
    cloud.deploy()
    cloud.forget_jobs()
    cloud.set_pillar(alpha={"content": "second"})
    plan = cloud.run("saltern.plan")
    assert plan.code == 0, plan.err
    assert "-first ***" in plan.out
    assert "+second ***" in plan.out
    assert cloud.content("one", "alpha") == "first"
    assert cloud.secret not in plan.out + plan.err
    assert cloud.jobs("saltern.plan")
    assert cloud.secret.encode() not in cloud.job_cache()


def test_destroy_says_what_goes_host_by_host_and_asks_before_it_removes_anything(cloud):
    kept = cloud.folder / "minions/two/var/certificates/beta/kept"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    for extra, code in (([], 1), (["test=True"], 0)):
        result = cloud.run(
            "state.orchestrate", "orch.destroy", *extra, services=["beta"], hosts=["two", "three"]
        )
        assert result.code == code, result.err
        assert f"two: removes folders {kept.parent}" in result.err
        assert "three: removes nothing" in result.err
        assert "one: " not in result.err
        assert kept.exists()
        assert cloud.jobs("saltern.destroy") == []
    limited = {"services": ["beta"], "hosts": ["two", "three"], "confirm": "yes"}
    refused = cloud.run("state.orchestrate", "orch.destroy", services=["beta"])
    assert """pillar='{"services": ["beta"], "confirm": "yes"}""" in refused.last_block
    assert cloud.run("state.orchestrate", "orch.destroy", **limited).code == 0
    assert not kept.parent.exists()


def test_destroy_of_a_service_names_what_stays_elsewhere(cloud):
    result = cloud.run("state.orchestrate", "orch.destroy", services=["beta"], confirm="yes")
    assert result.code == 0, result.err
    assert "kept: its secrets: key beta of the secrets file" in result.err
    whole = cloud.run("state.orchestrate", "orch.destroy", confirm="yes")
    assert whole.code == 0, whole.err
    assert "kept:" not in whole.err


@pytest.mark.parametrize(
    ("orchestration", "pillar", "words"),
    [
        ("deploy", {"host": ["one"]}, "unknown option 'host'. Did you mean 'hosts'?"),
        ("destroy", {"host": ["one"], "confirm": "yes"}, "Did you mean 'hosts'?"),
        ("destroy", {"service": ["beta"], "confirm": "yes"}, "Did you mean 'services'?"),
        ("destroy", {"hosts": [], "confirm": "yes"}, "pillar:hosts: found []"),
        ("stop", {"hosts": "one"}, "pillar:hosts: found 'one' (string)"),
        ("deploy", {"remove": "one"}, "unknown option 'remove'"),
        ("deploy", {"alpha": {"content": "second"}}, "unknown option 'alpha'"),
        ("remove_host", {"remove": "on", "confirm": "yes"}, "Did you mean 'one'?"),
        ("remove_host", {"remove": "one", "hosts": ["two"]}, "unknown option 'hosts'"),
        ("mariadb_recovery", {"forces": "one"}, "Did you mean 'force'?"),
        ("certificates", {"day": 400}, "Did you mean 'days'?"),
        ("reconfigure", {"wiat": 5}, "Did you mean 'wait'?"),
    ],
)
def test_a_key_that_the_command_cannot_carry_stops_the_run(cloud, orchestration, pillar, words):
    result = cloud.run("state.orchestrate", f"orch.{orchestration}", **pillar)
    assert result.code == 1
    assert words in result.last_block.replace("\n  next    ", ". ")
    # What is typed again from there is never wider than what was meant.
    assert "confirm" not in result.last_block.rpartition("then")[2]
    assert cloud.jobs("saltern.facts") == []


def test_a_runner_takes_lists_of_names_and_no_other_argument(cloud):
    result = cloud.run("saltern.plan", "services=alpha")
    assert result.code == 1
    assert "argument:services: found 'alpha' (string)" in result.out + result.err
    mistyped = cloud.run("saltern.plan", "host=[one]")
    assert mistyped.code == 1
    assert "Did you mean 'hosts'?" in mistyped.out + mistyped.err
    assert cloud.jobs("saltern.plan") == []


def test_a_host_is_taken_out_only_if_it_was_stopped_or_is_silent(cloud):
    broken = cloud.folder / "minions/two/cache/extmods/modules/container.py"
    good = broken.read_text()
    remove = ("state.orchestrate", "orch.remove_host")
    assert cloud.deploy().code == 0
    asked = cloud.run(*remove, remove="two")
    assert asked.code == 1
    assert "two: stops nothing" in asked.err
    assert '"remove": "two", "confirm": "yes"' in asked.last_block
    assert cloud.jobs("saltern.stop") == []
    try:
        broken.write_text(good + "\n\ndef list_():\n    raise CommandExecutionError('no Docker')\n")
        refused = cloud.run(*remove, remove="two", confirm="yes")
    finally:
        broken.write_text(good)
    assert refused.code == 1
    assert "no Docker" in refused.last_block
    with cloud.silent("two"):
        done = cloud.run(*remove, remove="two", confirm="yes")
    assert done.code == 0, done.err
    assert "two: does not answer, and so must be off" in done.err


def test_a_highstate_gives_a_host_all_its_services(cloud):
    result = cloud.run("salt.execute", "one", "state.highstate", "--out=highstate")
    assert result.code == 0, result.err
    assert "Total states run" in result.out
    assert cloud.written() == {"one": SERVICES, "two": [], "three": []}


def test_a_wrong_pillar_stops_a_highstate(cloud):
    cloud.set_pillar(alpha={"contents": "x"})
    result = cloud.run("salt.execute", "one", "state.highstate")
    assert "alpha:contents" in result.out
    assert cloud.written()["one"] == []


def test_new_code_reaches_the_hosts_before_it_is_needed(cloud):
    cloud.deploy()
    module = cloud.folder / "salt/_modules/orchestration_probe.py"
    module.write_text("def there():\n    return True\n")
    try:
        result = cloud.deploy()
        assert result.code == 0, result.err
        assert "two: got this checkout's code" in result.err
        result = cloud.run("salt.execute", "two", "orchestration_probe.there", "--out=json")
        assert '"two": true' in result.out
    finally:
        module.unlink()


def test_hosts_whose_old_code_fails_get_the_new_code(cloud):
    assert cloud.deploy().code == 0
    module = cloud.folder / "minions/two/cache/extmods/modules/saltern.py"
    with module.open("a") as file:
        file.write("\n\ndef plan_(**_):\n    raise RuntimeError('old code')\n")
    result = cloud.deploy()
    assert result.code == 0, result.err
    assert "two: got this checkout's code" in result.err


def test_states_that_do_not_render_fail_the_run_before_anything_changes(cloud):
    init = cloud.folder / "formulas/beta/init.sls"
    good = init.read_text()
    init.write_text("{{ no_such_name.at_all }}")
    try:
        result = cloud.deploy()
    finally:
        init.write_text(good)
    assert result.code == 1
    assert "no_such_name" in result.last_block
    assert "host    one" in result.last_block
    assert not any(cloud.written().values())


def test_reconfigure_brings_changed_options(cloud):
    cloud.deploy()
    cloud.set_pillar(beta={"content": "second"})
    result = cloud.run("state.orchestrate", "orch.reconfigure")
    assert result.code == 0, result.err
    assert cloud.content("three", "beta") == "second"


def test_prechecks_are_a_table_with_a_remedy_for_each_failure(cloud):
    result = cloud.run("state.orchestrate", "orch.prechecks")
    assert result.code == 1
    # The test hosts' ids resolve nowhere.
    assert re.search(r"^names +FAILED +FAILED +FAILED$", result.err, re.M)
    assert re.search(r"^clock +ok +ok +ok$", result.err, re.M)
    assert "reason  two does not resolve; three does not resolve" in result.last_block
    assert "next    Add to /etc/hosts of one or to the DNS" in result.last_block
    assert not any(cloud.written().values())


DELTA = """
Run delta:
  container.running:
    - name: delta
    - service: delta
    - image: NAMESPACE/release:{{ pillar['cloud']['release'] }}
    - command: [/bin/busybox, sleep, "1000"]
    - network_mode: none
"""


def docker(*words, **options):
    """Run docker and return its output."""
    done = subprocess.run(["docker", *words], capture_output=True, check=True, **options)
    return done.stdout.decode().strip()


def busybox(name, change):
    """Make an image of a static busybox."""
    tar = subprocess.run(["tar", "-C", "/", "-c", "bin/busybox"], capture_output=True, check=True)
    docker("import", "--change", change, "-", name, input=tar.stdout)


@pytest.fixture
def delta(cloud):
    """A service with a container, whose image exists of two releases."""
    home, older = cloud.folder / "formulas/delta", cloud.folder / "images/locks/2026.1.txt"
    home.mkdir()
    older.touch()
    (home / "service.yml").write_text("summary: A container\nroles: [control]\n")
    (home / "init.sls").write_text(DELTA.replace("NAMESPACE", NAMESPACE))
    names = [f"{NAMESPACE}/release:{release}" for release in ("2026.1", "2026.2")]
    for name in names:
        busybox(name, f"LABEL saltern.release={name.rpartition(':')[2]}")
    yield
    docker("rm", "-f", f"{PREFIX}two-delta")
    docker("rmi", *names)
    shutil.rmtree(home)
    older.unlink()


def test_a_deployment_gives_no_service_that_runs_another_release(cloud, delta):
    limits = {"services": ["delta"], "hosts": ["two"]}
    cloud.set_pillar(settings={"release": "2026.1"})
    assert cloud.deploy(**limits).code == 0
    cloud.set_pillar(settings={"release": "2026.2"})
    cloud.forget_jobs()
    refused = cloud.deploy(**limits)
    assert refused.code == 1
    assert "saltern:release is 2026.2, but 2026.1 runs in delta" in refused.last_block
    assert "salt-run state.orchestrate orch.upgrade" in refused.last_block
    assert cloud.jobs("state.sls") == []
    cloud.set_pillar(settings={"release": "2026.1"})
    assert "Nothing to change" in cloud.deploy(**limits).err


@pytest.fixture
def mariadb(cloud):
    """A service that is recovered, and a container of it that runs on one host and is no database."""
    home, image = cloud.folder / "formulas/mariadb", f"{NAMESPACE}/recovery:1"
    home.mkdir()
    (home / "service.yml").write_text(
        "summary: A database\nroles: [control]\n"
        "clusters: {mariadb: {data: /data/there, form: /data/form, recovery: mariadb_recovery}}\n"
        "volumes: {mariadb: data}\n"
        "containers: {mariadb: {image: mariadb, volumes: ['mariadb:/data']}}\n"
    )
    (home / "init.sls").write_text("Nothing to do:\n  test.nop\n")
    busybox(image, "LABEL saltern.service=mariadb")
    name = f"{PREFIX}two-mariadb"
    labels = ["--label=saltern.service=mariadb", f"--label=saltern.prefix={PREFIX}two-"]
    once = ["run", "-d", "--network=none", "--name", name, "--stop-timeout=1", *labels, image]
    docker(*once, "/bin/busybox", "sleep", "1000")
    yield name
    docker("rm", "-f", name)
    docker("rmi", image)
    shutil.rmtree(home)


def test_a_refused_recovery_starts_again_what_it_has_stopped(cloud, mariadb):
    started = ["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", mariadb]
    before = docker(*started)
    refused = cloud.run("state.orchestrate", "orch.mariadb_recovery")
    assert refused.code == 1
    assert "reason  no member holds data" in refused.last_block
    assert "reason  its mariadb was stopped for this, and is started again" in refused.last_block
    assert docker(*started).startswith("true ")
    assert docker(*started) != before
    unsure = cloud.run("state.orchestrate", "orch.mariadb_recovery", force="two")
    assert unsure.code == 1
    assert "one: what its mariadb holds and that of two does not" in unsure.err
    assert '"force": "two", "confirm": "yes"' in unsure.last_block


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_host_without_room_stops_the_run_before_anything_changes(cloud):
    var = cloud.folder / "minions/two/var"
    var.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(var)], check=True)
    try:
        result = cloud.deploy()
    finally:
        subprocess.run(["umount", str(var)], check=True)
    assert result.code == 1
    assert "host    two" in result.last_block
    assert f"reason  {var}: 1 MB are free, 50 are needed" in result.last_block
    assert "Traceback" not in result.err + result.out
    assert not any(cloud.written().values())
