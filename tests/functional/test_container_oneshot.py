"""One-shot containers, exec and logs on real Docker: exit codes, output, input."""

from __future__ import annotations

import threading
import time

import pytest
from salt.exceptions import CommandExecutionError

pytestmark = pytest.mark.docker


@pytest.fixture
def task(image):
    """Return the arguments of a one-shot container; the command is the test's."""
    return {"name": "task", "service": "web", "image": image, "tmpfs": ["/tmp"]}


def test_exit_code_and_both_outputs_are_returned(call, api, prefix, task):
    """A failing command is an answer, not an error; the container is gone."""
    command = ["sh", "-c", "echo out; echo err >&2; exit 4"]
    result = call("container.run", command=command, **task)
    assert result == {"retcode": 4, "stdout": "out\n", "stderr": "err\n"}
    assert not api.containers(all=True, filters={"name": f"^/{prefix}"})


def test_input_arrives_whole_and_nowhere_else(call, api, prefix, task, tmp_path):
    """More than any buffer, read to its end by the process; Docker never shows it."""
    data = "s3cret\n" * 200_000
    task["volumes"] = [f"{tmp_path}:/shared"]
    task["command"] = [
        *("sh", "-c"),
        "cat; echo x >/shared/read; while ! test -e /shared/go; do sleep 0.1; done",
    ]
    results = []
    runner = threading.Thread(
        target=lambda: results.append(call("container.run", stdin=data, **task))
    )
    runner.start()
    while runner.is_alive() and not (tmp_path / "read").exists():
        time.sleep(0.1)
    shown = str(api.inspect_container(f"{prefix}task")) + str(api.top(f"{prefix}task"))
    (tmp_path / "go").touch()
    runner.join()
    assert results == [{"retcode": 0, "stdout": data, "stderr": ""}]
    assert "cat; echo x" in shown
    assert "s3cret" not in shown


def test_a_process_that_ignores_its_input_ends_well(call, task):
    """No broken pipe, no hang."""
    result = call("container.run", command=["true"], stdin="x" * 1_000_000, **task)
    assert result["retcode"] == 0


def test_a_task_that_takes_too_long_is_stopped(call, api, prefix, task):
    """The message has what it wrote until then; nothing of it is left."""
    task["stop_timeout"] = 1
    command = ["sh", "-c", "echo working; sleep 600"]
    with pytest.raises(CommandExecutionError, match=r"took longer than 2 s.\nworking"):
        call("container.run", command=command, timeout=2, **task)
    assert not api.containers(all=True, filters={"name": f"^/{prefix}"})


def test_a_program_that_does_not_exist_is_told(call, api, prefix, task):
    """Docker's message, and nothing is left."""
    with pytest.raises(CommandExecutionError, match="no-such-program"):
        call("container.run", command=["no-such-program"], **task)
    assert not api.containers(all=True, filters={"name": f"^/{prefix}"})


def test_an_interrupted_earlier_run_is_waited_for(call, api, prefix, task, image):
    """Two of the same task never run at once."""
    labels = {"saltern.service": "web", "saltern.prefix": prefix, "saltern.once": "true"}
    binds = api.create_host_config(binds=[f"{prefix}data:/data"])
    earlier = api.create_container(
        image,
        ["sh", "-c", "sleep 2; echo first >>/data/order"],
        name=f"{prefix}task",
        labels=labels,
        host_config=binds,
    )
    api.start(earlier["Id"])
    command = ["sh", "-c", "echo second >>/data/order; cat /data/order"]
    result = call("container.run", command=command, volumes=["data:/data"], **task)
    assert result["stdout"].split() == ["first", "second"]


def test_exec_returns_code_and_output_and_takes_input(call, web):
    """With the container's own user, or another one."""
    call("container.running", **web)
    both = call("container.exec", "web", ["sh", "-c", "cat; echo err >&2; exit 3"], stdin="in")
    assert both == {"retcode": 3, "stdout": "in", "stderr": "err\n"}
    assert call("container.exec", "web", "id -u", user="4242")["stdout"] == "4242\n"
    with pytest.raises(CommandExecutionError, match="longer than 1 s"):
        call("container.exec", "web", "sleep 5", timeout=1)


def test_exec_in_a_container_that_is_not_there(call, web):
    """The nearest name is offered."""
    call("container.running", **web)
    with pytest.raises(CommandExecutionError, match="no container wep on this host; did you mean"):
        call("container.exec", "wep", "true")


def test_logs_and_health_show_what_the_container_says(call, web, image):
    """The last lines, and the state."""
    web["command"] = ["sh", "-c", "echo one; echo two; echo up >/tmp/up; sleep 600"]
    web["stop_timeout"] = 1
    call("container.running", **web)
    assert call("container.logs", "web", lines=1) == "two\n"
    health = call("container.health", "web")
    assert (health["state"], health["restarts"]) == ("running", 0)
    assert call("container.restart", "web") is True
    assert call("container.logs", "web").split() == ["one", "two"] * 2


def test_a_string_of_a_secret_name_is_refused(call, task):
    """The message does not repeat the value."""
    with pytest.raises(CommandExecutionError, match="DB_PASSWORD") as error:
        call("container.run", command=["true"], environment={"DB_PASSWORD": "s3cret"}, **task)
    assert "s3cret" not in str(error.value)
