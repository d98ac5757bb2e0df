"""Phases of an orchestration: each state of ``salt/orch/*.sls`` is one of these.

A phase stops the run when it fails (``failhard: True``); it takes an explicit list of hosts, counts
a silent host as a failure and tells what it does on the event bus and on the screen.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import salt.config
import salt.key
import salt.utils.event
from salt.exceptions import SaltException

from saltern import (
    bootstrap,
    checks,
    formation,
    inventory,
    minionkeys,
    plan,
    prechecks,
    problems,
    progress,
    remote,
    rollout,
    screen,
)
from saltern import certificates as certs
from saltern import pins as image_pins
from saltern.errors import SalternError
from saltern.fleet import RolloutError, Run, connect
from saltern.formation import RefusedError
from saltern.host import root
from saltern.lock import Lock
from saltern.problems import Problem
from saltern.progress import Failure, Phase, count, states_of

_RUN = "saltern.rollout"
_BUILD = "salt-run image.build, or name a registry in the pillar: saltern:images:registry"


def validated(
    name: str,
    with_secrets: bool = True,
    certificates: bool = True,
    services: Sequence[str] = (),
) -> dict[str, Any]:
    """Stop unless the pillar is right, secrets and certificates are there; nothing has been changed yet.

    The pillar keys ``services`` and ``hosts`` of the command limit the run; ``remove`` names a host that it
    leaves out.

    :param with_secrets: False where the run needs none.
    :param certificates: False if they are yet to be made.
    :param services: The only services that this table is for; the command cannot choose others.

    .. code-block:: yaml

        Check the pillar:
          rollout.validated:
            - failhard: True
    """
    with _phase(name, "validated") as (_, ret):
        cloud = inventory.cloud(__pillar__, __opts__)
        _stop_for(cloud.problems)
        missing = inventory.missing_secrets(cloud, __opts__) if with_secrets else []
        if missing:
            reason = f"no value for the secrets {', '.join(missing)}"
            raise RolloutError([Failure(reason, remedy="salt-run saltern.genpwd")])
        needed = certificates and with_secrets
        _stop_for(inventory.wrong_certificates(cloud, __opts__) if needed else [])
        gone = __pillar__.get("remove")
        if gone and gone not in cloud.hosts:
            raise SalternError(str(problems.unknown("pillar remove", gone, cloud.hosts, "host")))
        chosen, hosts = rollout.narrow(
            rollout.graph(cloud),
            list(cloud.hosts),
            services or __pillar__.get("services", []),
            [host for host in cloud.hosts if host != gone] if gone else __pillar__.get("hosts", []),
        )
        __context__[_RUN] = Run(connect(__opts__), chosen, hosts, cloud)
        placed = sum(1 for one in chosen.values() if one.hosts)
        ret["comment"] = f"{count(placed, 'service')} on {count(len(hosts), 'host')}."
    return ret


def confirmed(name: str, what: str) -> dict[str, Any]:
    """Stop unless the command carries ``pillar='{"confirm": "yes"}'``.

    :param what: What will be lost, for the message.
    """
    with _phase(name, "confirmed") as (_, ret):
        # YAML reads a bare yes as true.
        if __pillar__.get("confirm") not in ("yes", True):
            remedy = """if that is wanted, add to the command: pillar='{"confirm": "yes"}'"""
            raise RolloutError([Failure(f"this removes {what}", remedy=remedy)])
        ret["comment"] = f"Confirmed: {what}."
    return ret


def locked(name: str) -> dict[str, Any]:
    """Take the lock of the cloud: one run at a time. It is free again when the run or its process ends."""
    with _phase(name, "locked") as (_, ret):
        if __opts__["test"]:
            ret["comment"] = "Not needed: test mode changes nothing."
        else:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            holder = {"command": _command(), "user": __opts__.get("user", "?"), "since": since}
            _run().lock = Lock(f"{root('var', __opts__)}/rollout.lock", holder)
            ret["comment"] = "This run has the cloud to itself."
    return ret


def certified(name: str, days: float = 30) -> dict[str, Any]:
    """Make the certificates that are missing and renew those that expire soon, on the master alone.

    Those that the operator put there are never touched; a wrong one stops the run before any is made.
    The pillar key ``days`` of the command wins.

    :param days: Those that expire within as many days are renewed.
    """
    with _phase(name, "certified") as (_, ret):
        cloud = inventory.cloud(__pillar__, __opts__)
        folder = inventory.certificates_folder(__opts__)
        needed, now = certs.wanted(cloud), certs.now()
        stored, key = certs.read(folder), certs.read_key(folder)
        reasons = certs.plan(needed, stored, key, now, float(__pillar__.get("days", days)))
        _stop_for(certs.problems(needed, stored, now, folder, reasons))
        if not needed:
            ret["comment"] = "Not needed: TLS is off, see docs/tls.md."
        elif not reasons:
            ret["comment"] = "Every certificate is there and stays valid."
        elif __opts__["test"]:
            ret.update(result=None, changes=reasons, comment="Would make them.")
        else:
            certs.write(folder, certs.make(reasons, needed, stored, key, now))
            ret.update(changes=reasons, comment=f"Made {', '.join(reasons)} in {folder}.")
    return ret


def preflight(name: str, deadline: float = 120) -> dict[str, Any]:
    """Stop unless every host answers, with this checkout's code and no state run under way.

    A host with other code gets the master's; one that still works for a killed run is waited for.

    :param deadline: Seconds a host has for its answer.
    """
    with _phase(name, "preflight") as (phase, ret):
        calls: dict[str, dict[str, Any]] = {host: {} for host in _run().hosts}
        _run().fleet.ask(phase, "saltern.facts", calls, deadline)
        ret["comment"] = f"{count(len(calls), 'host')} ready."
    return ret


def planned(name: str, deadline: float = 600) -> dict[str, Any]:
    """Learn from every host what would change, in the same job that does the preflight.

    :param deadline: Seconds a host has for its answer.
    """
    with _phase(name, "planned") as (phase, ret):
        run = _run()
        answers = run.fleet.ask(phase, "saltern.plan", run.plan_calls(), deadline)
        run.plans = {host: answer["services"] for host, answer in answers.items()}
        wrong = plan.failures(run.plans)
        if wrong:
            raise RolloutError(
                [
                    Failure(one["comment"], host, service, one["state"], states_of(host, service))
                    for host, service, one in wrong
                ]
            )
        work = plan.work(run.plans, run.services)
        names = [f"{service} on {', '.join(hosts)}" for service, hosts in work.items()]
        ret["comment"] = f"Changes: {'; '.join(names)}." if names else "Nothing to change."
    return ret


def formed(name: str, deadline: float = 300, only: str | None = None) -> dict[str, Any]:
    """Decide, for every cluster that changes, who forms it and in which order its members change.

    Every member is asked, also those that this run leaves alone, which need not answer. A new cluster is formed by one host, the
    others join it; see :mod:`saltern.formation`.

    :param deadline: Seconds a host has.
    :param only: As for :func:`applied`.
    """
    with _phase(name, "formed") as (phase, ret):
        run = _run()
        work, _ = _work(run, only)
        clusters = {
            service: one for service, one in rollout.clustered(run.cloud).items() if service in work
        }
        members: dict[str, dict[str, Any]] = {}
        for service, one in clusters.items():
            for host in one.hosts:
                members.setdefault(host, {"services": []})["services"].append(service)
        mine = {host: call for host, call in members.items() if host in run.hosts}
        others = {host: call for host, call in members.items() if host not in run.hosts}
        facts = run.fleet.call(phase, "cluster.members", mine, deadline)
        # A host that the run leaves out may be the one that is broken.
        with contextlib.suppress(RolloutError):
            facts |= run.fleet.call(phase, "cluster.members", others, deadline)
        todo = formation.actions(clusters, facts, run.hosts)
        for service, order in todo.orders.items():
            placed = run.services[service]
            hosts = tuple(host for host in order if host in placed.hosts)
            run.services[service] = replace(placed, hosts=hosts)
        if __opts__["test"]:
            ret.update(result=None if todo.prepare else True, comment=todo.text())
        else:
            run.fleet.call(phase, "cluster.forget", todo.forget, deadline)
            run.fleet.call(phase, "cluster.prepare", todo.prepare, deadline)
            ret.update(changes=todo.prepare, comment=todo.text())
    return ret


def applied(name: str, deadline: float = 1800, only: str | None = None) -> dict[str, Any]:
    """Apply what is planned: each service when all that it requires is done, its first host first.

    Only services and hosts on which the plan has changes are touched. The gate to the next step is
    the state itself: ``container.running`` waits until its container is healthy.

    :param deadline: Seconds one service may take on one host.
    :param only: ``configuration`` leaves out services whose images change or that do not run yet.
    """
    with _phase(name, "applied") as (phase, ret):
        run = _run()
        work, left = _work(run, only)
        note = "".join(f" Left to orch.deploy: {one} ({why})." for one, why in left.items())
        if not work:
            ret["comment"] = f"Nothing to change.{note}"
        elif __opts__["test"]:
            ret.update(result=None, changes=work, comment=f"Would apply these services.{note}")
        else:
            changed = run.fleet.apply(phase, rollout.Schedule(run.services, work), deadline)
            ret["changes"] = changed
            hosts = {host for where in changed.values() for host in where}
            ret["comment"] = (
                f"Changed {count(len(changed), 'service')} on {count(len(hosts), 'host')}.{note}"
            )
    return ret


def reached(name: str) -> dict[str, Any]:
    """Stop unless every host that has ``ssh`` in the pillar can be logged in to, and root be had there."""
    with _phase(name, "reached") as (phase, ret):
        hosts = bootstrap.hosts(_run().cloud, _run().hosts)
        ssh = remote.Remote(__opts__, _run().cloud)
        answers = _heard(phase, hosts, ssh.command(hosts, "true"))
        ret["comment"] = f"{count(len(answers), 'host')} reached by SSH."
    return ret


def prepared(name: str, sls: str) -> dict[str, Any]:
    """Apply states over SSH to every host that has ``ssh`` in the pillar.

    :param sls: Name of the states. They see the pillar key ``bootstrap`` alone.
    """
    with _phase(name, "prepared") as (phase, ret):
        run = _run()
        hosts = bootstrap.hosts(run.cloud, run.hosts)
        public = Path(__opts__["pki_dir"], "master.pub").read_text()
        given = bootstrap.pillar(run.cloud, __opts__, minionkeys.finger(public))
        ssh = remote.Remote(__opts__, run.cloud)
        said = ssh.states(hosts, sls, {"bootstrap": given}, __opts__["test"])
        answers = _heard(phase, hosts, said)
        ret["changes"] = {
            host: [one["__id__"] for one in states.values() if one.get("changes")]
            for host, states in answers.items()
        }
        ret["changes"] = {host: done for host, done in ret["changes"].items() if done}
        changed = count(len(ret["changes"]), "host")
        if __opts__["test"]:
            ret["result"] = None if ret["changes"] else True
        ret["comment"] = (
            f"{'Would change' if __opts__['test'] else 'Changed'} {changed}."
            if ret["changes"]
            else "Nothing to change."
        )
    return ret


def welcomed(name: str, patience: float = 60) -> dict[str, Any]:
    """Accept the minion's key of every host that has ``ssh`` in the pillar, and wait until all answer.

    The key is read over SSH on the host itself; another one that the master has got is refused.

    :param patience: Seconds that minions have to find their master.
    """
    with _phase(name, "welcomed") as (phase, ret):
        run = _run()
        hosts = bootstrap.hosts(run.cloud, run.hosts)
        if __opts__["test"]:
            ret["comment"] = "Not done: test mode changes nothing."
            return ret
        said = remote.Remote(__opts__, run.cloud).command(hosts, "cat", bootstrap.PUBLIC_KEY)
        found = _heard(phase, hosts, said)
        with salt.key.get_key(salt.config.master_config(__opts__["conf_file"])) as master:
            for host, public in found.items():
                try:
                    if minionkeys.accept(master, host, public):
                        ret["changes"][host] = minionkeys.finger(public)
                except SalternError as error:
                    raise RolloutError([Failure(str(error), host)]) from error
        silent = run.fleet.wait(hosts, patience)
        if silent:
            raise RolloutError([Failure("its minion does not answer", one) for one in silent])
        ret["comment"] = f"{count(len(hosts), 'host')} ready, {len(ret['changes'])} new."
    return ret


def pulled(
    name: str, missing: bool = False, deadline: float = 3600, at_once: int = 10
) -> dict[str, Any]:
    """Bring every host the images of its services, the same bytes to all of them.

    What the registry holds under a name is asked once, by one host, and kept on the master; hosts pull
    by that digest. Without a registry the images must be on the hosts.

    :param missing: Ask the registry only for what is not kept yet, and pull only what is not there: a
        host that is added gets what the others have.
    :param deadline: Seconds a host has.
    :param at_once: Hosts that pull together.
    """
    with _phase(name, "pulled") as (phase, ret):
        run = _run()
        registry = run.cloud.settings["images"].get("registry")
        if missing and not registry:
            ret["comment"] = "The pillar names no registry."
            return ret
        answers = run.fleet.ask(phase, "saltern.images", run.calls(), 60)
        here = {host: answer["images"] for host, answer in answers.items()}
        lacking = {
            host: [image for image, there in found.items() if not there]
            for host, found in here.items()
        }
        if not registry:
            wrong = [
                Failure(f"not here: {', '.join(images)}", host, remedy=_BUILD)
                for host, images in lacking.items()
                if images
            ]
            if wrong:
                raise RolloutError(wrong)
            ret["comment"] = "All here; the pillar names no registry."
            return ret
        wanted = lacking if missing else here
        names = sorted({image for images in wanted.values() for image in images})
        path = Path(root("var", __opts__), "digests.json")
        pins = image_pins.read(path)
        unknown = [image for image in names if not missing or image not in pins]
        if __opts__["test"]:
            ret["result"] = None if names else True
            ret["comment"] = f"Would pull {count(len(names), 'image')}."
            return ret
        if unknown:
            asked = {run.hosts[0]: {"images": unknown}}
            pins |= run.fleet.call(phase, "saltern.digests", asked, 120)[run.hosts[0]]
            image_pins.write(path, pins)
        calls = {
            host: {**call, "digests": {image: pins[image] for image in wanted[host]}}
            for host, call in run.calls().items()
            if wanted[host]
        }
        answers = run.fleet.call(phase, "saltern.pull", calls, deadline, at_once)
        ret["changes"] = {host: done for host, done in answers.items() if done}
        ret["comment"] = (
            f"{count(len(names), 'image')}, pulled on {count(len(ret['changes']), 'host')}."
        )
    return ret


def called(
    name: str,
    function: str,
    deadline: float = 600,
    at_once: int = 0,
    service: str | None = None,
    first: bool = False,
    arguments: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a function on the hosts; it gets the names of its host's services of this run.

    :param function: Execution function that takes ``services`` and returns what it has changed, or
        nothing; a failure is an exception in it. A key ``text`` of its answer is the last word on the screen.
    :param deadline: Seconds a host has.
    :param at_once: Hosts that do it together; 0 is all.
    :param service: Only the hosts of this service do it; None is all hosts.
    :param first: Only the first of the hosts does it.
    :param arguments: More keyword arguments of the function.
    """
    with _phase(name, "called") as (phase, ret):
        run = _run()
        calls = run.calls(**(arguments or {}))
        if service:
            calls = {host: call for host, call in calls.items() if service in call["services"]}
        if first:
            calls = dict(list(calls.items())[:1])
        if __opts__["test"]:
            ret.update(result=None, comment=f"Would call {function} on {', '.join(calls)}.")
        else:
            answers = run.fleet.call(phase, function, calls, deadline, at_once)
            for answer in answers.values():
                if answer and "text" in answer:
                    screen.last_word(answer.pop("text"), __opts__)
            ret["changes"] = {host: answer for host, answer in answers.items() if answer}
            ret["comment"] = f"Changed {len(ret['changes'])} of {count(len(calls), 'host')}."
    return ret


def decided(
    name: str,
    service: str,
    facts: str,
    decision: str,
    act: str | None = None,
    deadline: float = 600,
) -> dict[str, Any]:
    """Ask every host of a service, decide in one place, and let the chosen hosts act.

    The pillar key ``force`` of the command names a host that a person has chosen; it needs ``confirm``.

    :param facts: Execution function that takes ``services`` and returns a host's facts.
    :param decision: Pure function of the library, as ``galera.choose``: takes the service's hosts, the
        facts of those that this run may ask, and ``force``; returns arguments by host and a sentence.
    :param act: Execution function that the chosen hosts run with their arguments.
    :param deadline: Seconds a host has for each of the two.
    """
    with _phase(name, "decided") as (phase, ret):
        run = _run()
        force = __pillar__.get("force")
        if force and __pillar__.get("confirm") not in ("yes", True):
            reason = f"what other hosts hold and {force} does not would be lost"
            remedy = f"""pillar='{{"force": "{force}", "confirm": "yes"}}'"""
            raise RolloutError([Failure(reason, remedy=remedy)])
        calls = {host: {} for host in run.cloud.placement[service] if host in run.hosts}
        found = run.fleet.call(phase, facts, calls, deadline)
        module, _, function = decision.rpartition(".")
        decide_ = getattr(importlib.import_module(f"saltern.{module}"), function)
        chosen, said = decide_(run.cloud.placement[service], found, force)
        ret["comment"] = said
        if act and chosen and __opts__["test"]:
            ret.update(result=None, comment=f"{said} Would call {act} on {', '.join(chosen)}.")
        elif act and chosen:
            answers = run.fleet.call(phase, act, chosen, deadline)
            ret["changes"] = {host: answer for host, answer in answers.items() if answer}
    return ret


def removed(name: str, deadline: float = 900) -> dict[str, Any]:
    """Stop the services of the host that the pillar key ``remove`` names, and let the others forget it.

    All other members must be healthy. A host that does not answer is taken for one that is off.

    :param deadline: Seconds a host has.
    """
    with _phase(name, "removed") as (phase, ret):
        run, gone = _run(), __pillar__.get("remove")
        if not gone:
            raise SalternError('name the host: pillar=\'{"remove": "HOST", "confirm": "yes"}\'')
        clusters = {
            service: one
            for service, one in rollout.clustered(run.cloud).items()
            if gone in one.hosts
        }
        calls = {host: {"services": list(clusters)} for host in run.hosts}
        facts = run.fleet.call(phase, "cluster.members", calls, deadline)
        asked = formation.dispense_with(gone, clusters, facts)
        if __opts__["test"]:
            ret.update(result=None, comment=f"Would stop {gone}, and ask {', '.join(asked)}.")
        else:
            try:
                stopped = run.fleet.call(phase, "saltern.stop", {gone: {}}, deadline)
            except RolloutError as error:
                stopped = {gone: str(error)}
            said = run.fleet.call(phase, "cluster.forget", asked, deadline)
            toolbox = run.services["toolbox"].hosts[:1] if "toolbox" in run.services else ()
            records = {host: {"host": gone} for host in toolbox}
            deleted = run.fleet.call(phase, "saltern.forget_host", records, deadline)
            ret["changes"] = {"stopped": stopped, "clusters": said, "records": deleted}
            ret["comment"] = f"{gone} is no member any more."
    return ret


def checked(name: str, function: str, clock: bool = False, deadline: float = 300) -> dict[str, Any]:
    """Run checks on the hosts and show them as a table; a failed check stops the run.

    :param function: Execution function that takes ``services`` and returns a list of checks, each with
        ``check``, ``ok``, ``found`` and ``remedy``.
    :param clock: Also check the hosts' clocks, which ``preflight`` has asked.
    :param deadline: Seconds a host has.
    """
    with _phase(name, "checked") as (phase, ret):
        run = _run()
        answers = run.fleet.call(phase, function, run.calls(), deadline)
        if clock:
            limit = run.cloud.settings["limits"]["clock_offset_s"]
            for host, rows in answers.items():
                rows.append(prechecks.clock(*run.fleet.clocks[host], limit))
        phase.table(checks.table(answers))
        wrong = [
            Failure(one["found"], host, state=one["check"], remedy=one["remedy"])
            for host, found in answers.items()
            for one in found
            if not one["ok"]
        ]
        if wrong:
            raise RolloutError(wrong)
        total = sum(len(rows) for rows in answers.values())
        ret["comment"] = f"{count(total, 'check')} on {count(len(answers), 'host')}, all good."
    return ret


def _stop_for(wrong: list[Problem]) -> None:
    """Stop the run if there are problems."""
    if wrong:
        raise RolloutError([Failure(f"{one.key}: {one.what}", remedy=one.remedy) for one in wrong])


def _heard(phase: Phase, hosts: Sequence[str], answers: Iterable[remote.Answer]) -> dict[str, Any]:
    """Tell each host's answer over SSH as it comes; return host to value.

    :raises RolloutError: With every host that failed.
    """
    values: dict[str, Any] = {}
    failures: list[Failure] = []
    for number, one in enumerate(answers, 1):
        wrong = [] if one.ok else bootstrap.failures(one.host, one.value)
        failures += wrong
        values[one.host] = one.value
        text = wrong[0].reason if wrong else "done"
        phase.host(one.host, text, one.ok, one.seconds, 100 * number // len(hosts))
    failures += [Failure("did not answer", one) for one in hosts if one not in values]
    if failures:
        raise RolloutError(failures)
    return {host: values[host] for host in hosts}


@contextlib.contextmanager
def _phase(name: str, kind: str) -> Iterator[tuple[Phase, dict[str, Any]]]:
    """Yield a phase's voice and its return; turn errors into a failed return and a last word."""
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    say = screen.speaker(__opts__)
    run_id = str(__opts__.get("jid") or __low__.get("__orchestration_jid__", "0"))
    phase = Phase(run_id, kind, __low__["__id__"], _bus().fire_event, say, time.monotonic)
    phase.begin()
    ok = False
    try:
        yield phase, ret
        ok = True
    except (SalternError, SaltException) as error:
        remedy = error.remedy if isinstance(error, RefusedError) else ""
        failures = (
            error.failures
            if isinstance(error, RolloutError)
            else [Failure(str(error), remedy=remedy)]
        )
        ret.update(result=False, comment=str(error))
        screen.not_logged(ret["comment"])
        block = progress.failure_block(__low__["__id__"], failures, _command())
        screen.last_word(block, __opts__)
    except SystemExit:
        # Ctrl-C, as Salt tells it.
        ret["comment"] = "interrupted; hosts finish the service they are at"
        stopped = Failure(ret["comment"])
        screen.last_word(progress.failure_block(__low__["__id__"], [stopped], _command()), __opts__)
        raise
    finally:
        phase.end(ok, ret["comment"])
        if not ok or __lowstate__[-1]["__id__"] == __low__["__id__"]:
            _let_go()


def _work(run: Run, only: str | None) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return service to hosts of what this run changes, and what it leaves out with the reason."""
    work = plan.work(run.plans, run.services)
    left = plan.beyond_configuration(run.plans) if only == "configuration" else {}
    return {service: hosts for service, hosts in work.items() if service not in left}, left


def _run() -> Run:
    if _RUN not in __context__:
        raise SalternError("this table has no rollout.validated before this phase: add it")
    return __context__[_RUN]


def _let_go() -> None:
    """Free the lock at the end of the run: a master that ran it for the reactor lives on."""
    run = __context__.get(_RUN)
    if run and run.lock:
        run.lock.release()


def _bus() -> Any:
    if "saltern.bus" not in __context__:
        __context__["saltern.bus"] = salt.utils.event.get_master_event(
            __opts__, __opts__["sock_dir"], listen=False
        )
    return __context__["saltern.bus"]


def _command() -> str:
    """Return the command of this run, with the pillar keys that limit it."""
    limits = {
        key: __pillar__[key]
        for key in ("services", "hosts", "remove", "force", "days", "confirm")
        if key in __pillar__
    }
    pillar = f" pillar='{json.dumps(limits)}'" if limits else ""
    return f"salt-run state.orchestrate {__low__['__sls__']}{pillar}"
