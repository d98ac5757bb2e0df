"""Phases of an orchestration: each state of ``salt/orch/*.sls`` is one of these.

A phase stops the run when it fails (the renderer ``phases``); it takes an explicit list of hosts, counts
a silent host as a failure and tells what it does on the event bus and on the screen.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import salt.config
import salt.key

from saltern import problems
from saltern.bootstrap import hosts as bootstrap
from saltern.bootstrap import minionkeys
from saltern.bootstrap import ssh as remote
from saltern.cloud import demand
from saltern.errors import Failure, SalternError
from saltern.host import checks, clients, prechecks
from saltern.paths import root
from saltern.run import (
    clusters,
    fleet,
    history,
    inventory,
    lock,
    pins,
    plan,
    progress,
    prune,
    pull,
    removal,
    saved_plans,
    schedule,
    screen,
    status,
    upgrades,
)
from saltern.run.command import Command
from saltern.run.fleet import RolloutError, Run
from saltern.run.formation import RefusedError
from saltern.run.orchestration import Orchestration
from saltern.run.progress import Phase, count
from saltern.tls import authority
from saltern.tls import store as certs

here = Orchestration(globals())


def validated(
    name: str,
    with_secrets: bool = True,
    certificates: bool = True,
    services: Sequence[str] = (),
    takes: Sequence[str] = ("services", "hosts", "wait"),
    anywhere: bool = False,
    maintenance: str = "",
    next: str = "",
) -> dict[str, Any]:
    """Stop unless command and pillar are right, secrets and certificates are there; nothing has been changed yet.

    The keys ``services`` and ``hosts`` of the command limit the run; ``remove`` names a host that it leaves
    out. What else the command carries does not reach the pillar of any host, and is refused.

    :param with_secrets: False where the run needs none.
    :param certificates: False if they are yet to be made.
    :param services: The only services that this table is for; the command cannot choose others.
    :param takes: Keys that the command may carry, see :mod:`saltern.run.command`.
    :param anywhere: The command may name services that the cloud does not have any more.
    :param maintenance: ``heed``: hosts and services in maintenance are left out, or refused if the pillar says so;
        ``refuse``: they are refused.
    :param next: What people do after this run; said at its end if it has changed something.

    .. code-block:: yaml

        Check the pillar:
          rollout.validated:
            - takes: [services, hosts, wait, days]
    """
    with here.phase(name) as (phase, ret):
        own = inventory.pillar(__opts__)
        command = here.take(own, takes)
        cloud = inventory.cloud(own, __opts__)
        fleet.stop_for(inventory.failures(cloud, __opts__, with_secrets, certificates))
        phase.warn(cloud.warnings)
        saved = saved_plans.of_command(__opts__, command.given)
        limits = saved["limits"] if saved else command.given
        gone = command.get("remove")
        if gone and gone not in cloud.hosts:
            raise SalternError(str(problems.unknown("pillar:remove", gone, cloud.hosts, "host")))
        run = here.run = fleet.begin(
            __opts__,
            cloud,
            services or limits.get("services", []),
            [host for host in cloud.hosts if host != gone] if gone else limits.get("hosts", []),
            command,
            anywhere,
            cloud.settings["maintenance"] if maintenance == "heed" else maintenance,
        )
        run.saved = saved
        if run.left_out:
            ret["left_out"] = list(map(str, run.left_out))
        if next:
            ret["next"] = next
        placed = sum(1 for one in run.services.values() if one.hosts)
        ret["comment"] = f"{count(placed, 'service')} on {count(len(run.hosts), 'host')}."
    return ret


def locked(name: str) -> dict[str, Any]:
    """Take the lock of the cloud: one run at a time. It is free again when the run or its process ends.

    The pillar key ``wait`` of the command has it wait so many seconds for a run that holds the lock.
    """
    with here.phase(name) as (_, ret):
        if __opts__["test"]:
            ret["comment"] = "Not needed: test mode changes nothing."
        else:
            command = here.run.command
            here.run.lock = lock.take(
                __opts__, command.text(), command.get("wait", 0), history.who(__opts__)
            )
            ret["comment"] = "Lock acquired."
    return ret


def certified(name: str, days: float = 30) -> dict[str, Any]:
    """Make the certificates that are missing and renew those that expire soon, on the master alone.

    Those that the operator put there are never touched; a wrong one stops the run before any is made.
    The pillar key ``days`` of the command wins.

    :param days: Those that expire within as many days are renewed.
    """
    with here.phase(name) as (_, ret):
        folder = inventory.certificates_folder(__opts__)
        needed, now = demand.wanted(here.run.cloud), certs.now()
        stored, key = certs.read(folder), certs.read_key(folder)
        reasons = certs.plan(needed, stored, key, now, here.run.command.get("days", days))
        wrong = certs.problems(needed, stored, now, folder, reasons)
        fleet.stop_for(progress.of_problems(wrong))
        if not needed:
            ret["comment"] = "Not needed: TLS is off, see docs/tls.md."
        elif not reasons:
            ret["comment"] = "Every certificate is there and stays valid."
        elif __opts__["test"]:
            ret.update(result=None, changes=reasons, comment="Would make them.")
        else:
            certs.write(folder, authority.make(reasons, needed, stored, key, now))
            ret.update(changes=reasons, comment=f"Made {', '.join(reasons)} in {folder}.")
    return ret


def preflight(name: str, deadline: float = 120) -> dict[str, Any]:
    """Stop unless every host answers, with this checkout's code and no state run under way.

    A host with other code gets the master's; one that still works for a killed run is waited for.

    :param deadline: Seconds a host has for its answer.
    """
    with here.phase(name) as (phase, ret):
        calls: dict[str, dict[str, Any]] = {host: {} for host in here.run.hosts}
        here.run.fleet.ask(phase, "saltern.facts", calls, deadline)
        ret["comment"] = f"{count(len(calls), 'host')} ready."
    return ret


def planned(name: str, deadline: float = 600, same_release: bool = False) -> dict[str, Any]:
    """Learn from every host what would change, in the same job that does the preflight.

    A state that fails already stops the run. What is not up is no change but work: it is waited for.
    What cannot be asked yet is asked again when the services before it have come up. Where the command names
    a saved plan, a host that would do anything else stops the run.

    :param deadline: Seconds a host has for its answer.
    :param same_release: Stop if services that run would get another release: that is an upgrade.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        run.ask_plans(phase, deadline)
        fleet.stop_for(plan.failures(run.plans))
        if run.saved:
            saved_plans.refuse(
                run.saved, list(saved_plans.differences(run.saved["plans"], run.plans))
            )
        if same_release:
            _keep_release(run, phase, deadline)
        ret["comment"] = " ".join(
            filter(None, (plan.summary(run.plans), status.left_summary(run.leftovers)))
        )
    return ret


def clustered(
    name: str, deadline: float = 300, patience: float = 60, only: str | None = None
) -> dict[str, Any]:
    """Decide, for every cluster of the run, who forms it and in which order its members change.

    Every member is asked, also those that this run leaves alone, which need not answer. A new cluster
    is formed by one host, the others join it; see :mod:`saltern.run.formation`. One of which no member is
    up stops the run, also where nothing changes.

    :param deadline: Seconds a host has.
    :param patience: Seconds that members which run have to find each other, as after a power cut.
    :param only: As for :func:`applied`.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        work, _ = run.work(only)
        patience = 0 if __opts__["test"] else patience
        todo = clusters.plan(run, phase, work, deadline, patience)
        done = {"prepare": todo.prepare, "forget": todo.forget}
        ret["comment"] = todo.text()
        if __opts__["test"]:
            ret["result"] = None if any(done.values()) else True
        else:
            clusters.prepare(run, phase, todo, deadline)
            ret["changes"] = {what: hosts for what, hosts in done.items() if hosts}
    return ret


def applied(name: str, deadline: float = 1800, only: str | None = None) -> dict[str, Any]:
    """Apply what is planned: each service when all that it requires is done, its first host first.

    Only services and hosts on which the plan has an entry are touched. The gate to the next step is
    the state itself: ``container.running`` waits until its container is healthy.

    :param deadline: Seconds one service may take on one host.
    :param only: ``configuration`` leaves out services whose images change or that do not run yet.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        work, left = run.work(only)
        note = "".join(f" Left to orch.deploy: {one} ({why})." for one, why in left.items())
        if not work:
            ret["comment"] = f"Nothing to change.{note}"
        elif __opts__["test"]:
            ret.update(result=None, changes=work, comment=f"Would apply these services.{note}")
        else:
            if run.saved:
                # From here on it does not hold any more: who types it again goes on without it.
                run.command = Command(run.command.name, run.saved["limits"])
            told = here.record.applied
            done = run.fleet.apply(
                phase, schedule.Schedule(run.services, work), deadline, told=told
            )
            changed = {
                service: {host: states for host, states in where.items() if states}
                for service, where in done.items()
                if any(where.values())
            }
            ret["changes"] = changed
            hosts = {host for where in changed.values() for host in where}
            what = f"Changed {count(len(changed), 'service')} on {count(len(hosts), 'host')}."
            same = [service for service in done if service not in changed]
            up = f" Up, and nothing had to change: {', '.join(same)}." if same else ""
            ret["comment"] = f"{what if changed else ''}{up}{note}".strip()
    return ret


def reached(name: str) -> dict[str, Any]:
    """Stop unless every host that has ``ssh`` in the pillar can be logged in to, and root be had there."""
    with here.phase(name) as (phase, ret):
        run = here.run
        hosts = bootstrap.hosts(run.cloud, run.hosts)
        answers = remote.Remote(__opts__, run.cloud).command(phase, hosts, "true")
        ret["comment"] = f"{count(len(answers), 'host')} reached by SSH."
    return ret


def prepared(name: str, sls: str) -> dict[str, Any]:
    """Apply states over SSH to every host that has ``ssh`` in the pillar.

    :param sls: Name of the states. They see the pillar key ``bootstrap`` alone.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        hosts = bootstrap.hosts(run.cloud, run.hosts)
        public = Path(__opts__["pki_dir"], "master.pub").read_text()
        given = bootstrap.pillar(run.cloud, __opts__, minionkeys.finger(public))
        ssh = remote.Remote(__opts__, run.cloud)
        answers = ssh.states(phase, hosts, sls, {"bootstrap": given}, __opts__["test"])
        done = {
            host: [one["__id__"] for one in states.values() if one.get("changes")]
            for host, states in answers.items()
        }
        ret["changes"] = {host: states for host, states in done.items() if states}
        changed = count(len(ret["changes"]), "host")
        if __opts__["test"]:
            ret["result"] = None if ret["changes"] else True
        ret["comment"] = (
            f"{'Would change' if __opts__['test'] else 'Changed'} {changed}."
            if ret["changes"]
            else "Nothing to change."
        )
    return ret


def accepted(name: str, patience: float = 60) -> dict[str, Any]:
    """Accept the minion's key of every host that has ``ssh`` in the pillar, and wait until all answer.

    The key is read over SSH on the host itself; another one that the master has got is refused.

    :param patience: Seconds that minions have to find their master.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        hosts = bootstrap.hosts(run.cloud, run.hosts)
        if __opts__["test"]:
            ret["comment"] = "Not done: test mode changes nothing."
            return ret
        ssh = remote.Remote(__opts__, run.cloud)
        found = ssh.command(phase, hosts, "cat", bootstrap.PUBLIC_KEY)
        with salt.key.get_key(salt.config.master_config(__opts__["conf_file"])) as master:
            for host, public in found.items():
                try:
                    if minionkeys.accept(master, host, public):
                        ret["changes"][host] = minionkeys.finger(public)
                except SalternError as error:
                    raise RolloutError([Failure(str(error), host)]) from error
        silent = run.fleet.wait(hosts, patience)
        fleet.stop_for([Failure("its minion does not answer", one) for one in silent])
        ret["comment"] = f"{count(len(hosts), 'host')} ready, {len(ret['changes'])} new."
    return ret


def pulled(
    name: str, missing: bool = False, deadline: float = 3600, serial: int = 10
) -> dict[str, Any]:
    """Bring every host the images of its services, the same bytes to all of them.

    What the registry holds under a name is asked once, by one host, and kept on the master; hosts pull
    by that digest. Without a registry the images must be on the hosts.

    :param missing: Ask the registry only for what is not kept yet, and pull only what is not there: a
        host that is added gets what the others have.
    :param deadline: Seconds a host has.
    :param serial: Hosts that pull together.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        registry = run.cloud.settings["images"].get("registry")
        if missing and not registry:
            ret["comment"] = "The pillar names no registry."
            return ret
        images, lacking = pull.wanted(run, phase)
        if not registry:
            fleet.stop_for(pull.failures(lacking))
            ret["comment"] = "All here; the pillar names no registry."
            return ret
        wanted = lacking if missing else images
        names = pull.names(wanted)
        if __opts__["test"]:
            ret["result"] = None if names else True
            ret["comment"] = f"Would pull {count(len(names), 'image')}."
            return ret
        path = Path(root("var", __opts__), "digests.json")
        digests = pull.digests(run, phase, path, names, again=not missing)
        ret["changes"] = pull.pull(run, phase, wanted, digests, deadline, serial)
        ret["comment"] = (
            f"{count(len(names), 'image')}, pulled on {count(len(ret['changes']), 'host')}."
        )
    return ret


def called(
    name: str,
    function: str,
    deadline: float = 600,
    serial: int = 0,
    service: str | None = None,
    first: bool = False,
    arguments: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a function on the hosts; it gets the names of its host's services of this run.

    :param function: Execution function that takes ``services`` and returns what it has changed, or
        nothing; a failure is an exception in it. A key ``text`` of its answer is the last word on the screen.
    :param deadline: Seconds a host has.
    :param serial: Hosts that do it together; 0 is all.
    :param service: Only the hosts of this service do it; None is all hosts.
    :param first: Only the first of the hosts does it.
    :param arguments: More keyword arguments of the function.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        calls = run.calls(**(arguments or {}))
        if service:
            calls = {host: call for host, call in calls.items() if service in call["services"]}
        if first:
            calls = dict(list(calls.items())[:1])
        if __opts__["test"]:
            ret.update(result=None, comment=f"Would call {function} on {', '.join(calls)}.")
        else:
            answers = run.fleet.call(phase, function, calls, deadline, serial)
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

    The key ``force`` of the command names a host that the operator has chosen; it needs ``confirm``. Members
    that a phase of this run has stopped are started again if this one fails.

    :param facts: Execution function that takes ``services`` and returns a host's facts.
    :param decision: Pure function of the library, as ``galera.choose``: takes the service's hosts, the
        facts of those that this run may ask, and ``force``; returns arguments by host and a sentence.
    :param act: Execution function that the chosen hosts run with their arguments.
    :param deadline: Seconds a host has for each of the two.
    """
    with here.phase(name) as (phase, ret):
        run, force = here.run, here.run.command.get("force")
        members = run.cloud.placement[service]
        if force and not run.command.confirmed:
            others = [host for host in members if host != force]
            lost = [
                f"{host}: what its {service} holds and that of {force} does not" for host in others
            ]
            here.confirm(phase, f"this loses data for those of {force}", lost)
        module, _, function = decision.rpartition(".")
        decide_ = getattr(importlib.import_module(f"saltern.run.{module}"), function)
        with clusters.started_again(run, phase, service):
            calls = {host: {} for host in members if host in run.hosts}
            found = run.fleet.call(phase, facts, calls, deadline)
            chosen, said = decide_(members, found, force)
            ret["comment"] = said
            if act and chosen and __opts__["test"]:
                ret.update(result=None, comment=f"{said} Would call {act} on {', '.join(chosen)}.")
            elif act and chosen:
                answers, failures = run.fleet.answers(phase, act, chosen, deadline)
                ret["changes"] = {host: answer for host, answer in answers.items() if answer}
                run.stopped += [host for host in ret["changes"] if act.endswith(".stop")]
                fleet.stop_for(failures)
    return ret


def removed(name: str, deadline: float = 900) -> dict[str, Any]:
    """Stop the services of the host that the key ``remove`` of the command names, and let the others forget it.

    All other members must be healthy. A host of which nothing is heard is taken for one that is off. What
    will be done is said first, and needs ``confirm``.

    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run, gone = here.run, here.run.command.get("remove")
        if not gone:
            again = here.run.command.text(remove="HOST", confirm="yes")
            raise RefusedError("no host is named", again)
        asked = clusters.plan_without(run, phase, gone, deadline)
        lost = clusters.effects(run, phase, gone, asked, deadline)
        here.confirm(phase, f"this takes {gone} out of the cloud", lost)
        if __opts__["test"]:
            ret.update(result=None, comment=f"Would take {gone} out of the cloud.")
        else:
            ret["changes"] = clusters.remove(run, phase, gone, asked, deadline)
            ret["comment"] = f"{gone} was removed from all clusters."
    return ret


def destroyed(name: str, deadline: float = 900) -> dict[str, Any]:
    """Remove the services of the run from its hosts, with their data, also what those have left that the
    cloud does not have any more.

    What each host would lose, and what stays elsewhere, is said first and needs ``confirm``.

    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run, calls = here.run, here.run.every_call()
        for service in [one for one in run.services if one not in run.cloud.services]:
            asked = {host: {"services": [service]} for host in run.hosts}
            if not any(run.fleet.call(phase, "saltern.holdings", asked, deadline).values()):
                wrong = problems.unknown("pillar:services", service, run.cloud.services, "service")
                raise RolloutError([Failure(f"no host has anything of {service}; {wrong}")])
        held = run.fleet.call(phase, "saltern.holdings", calls, deadline)
        kept = removal.kept(run.cloud, run.services)
        here.confirm(phase, "this removes data for good", removal.lines(held, kept))
        if __opts__["test"]:
            ret.update(result=None, changes=held, comment="Would remove this.")
        else:
            gone = run.fleet.call(phase, "saltern.destroy", calls, deadline)
            ret["changes"] = {host: kinds for host, kinds in gone.items() if kinds}
            ret["comment"] = f"Removed from {count(len(ret['changes']), 'host')}."
            screen.last_word("\n".join(kept), __opts__)
    return ret


def pruned(name: str, deadline: float = 900) -> dict[str, Any]:
    """Remove configuration and images that no container and no way back needs, and say what that freed.

    What the registry gave last for a name that is wanted now is kept, too.

    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run, tested = here.run, __opts__["test"]
        digests = pins.read(Path(root("var", __opts__), "digests.json"))
        function = "prune.unneeded" if tested else "prune.remove"
        calls = {host: {"digests": digests} for host in run.hosts}
        freed = run.fleet.call(phase, function, calls, deadline)
        phase.table(prune.text(freed, tested))
        ret["changes"] = {
            host: one for host, one in freed.items() if one["generations"] or one["images"]
        }
        total = prune.size(sum(one["bytes"] for one in freed.values()))
        where = count(len(ret["changes"]), "host")
        said = f"{'Would free at least' if tested else 'Freed'} {total} on {where}."
        ret["comment"] = said if ret["changes"] else "Nothing to remove."
        if tested and ret["changes"]:
            ret["result"] = None
    return ret


def checked(name: str, function: str, clock: bool = False, deadline: float = 300) -> dict[str, Any]:
    """Run checks on the hosts and show them as a table; a failed check stops the run.

    :param function: Execution function that takes ``services`` and returns a list of checks, each with
        ``check``, ``ok``, ``found`` and ``remedy``.
    :param clock: Also check the hosts' clocks, which ``preflight`` has asked.
    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        answers = run.fleet.call(phase, function, run.calls(), deadline)
        if clock:
            limit = run.cloud.settings["limits"]["clock_offset_s"]
            for host, rows in answers.items():
                rows.append(prechecks.clock(*run.fleet.clocks[host], limit))
        phase.table(checks.table(answers))
        fleet.stop_for(checks.failures(answers))
        total = sum(len(rows) for rows in answers.values())
        ret["comment"] = f"{count(total, 'check')} on {count(len(answers), 'host')}, all good."
    return ret


def introduced(name: str, client: str, dashboard: str) -> dict[str, Any]:
    """Say how to use the cloud: the last words on the screen after a first deployment.

    :param client: The service whose hosts have the credentials and the command ``openstack``.
    :param dashboard: The service that people open in a browser; nothing is said of one that is off.
    """
    with here.phase(name) as (_, ret):
        cloud, etc = here.run.cloud, root("etc", __opts__)
        text = clients.introduction(cloud, etc, cloud.placement.get(client, ()), dashboard)
        screen.last_word(text, __opts__)
        ret["comment"] = "Credentials are in place."
    return ret


def _keep_release(run: Run, phase: Phase, deadline: float) -> None:
    """Stop a deployment that would be an upgrade, or that meets one which is not finished."""
    release = run.cloud.settings["release"]
    again = "salt-run state.orchestrate orch.upgrade"
    unfinished = upgrades.read(upgrades.file(root("var", __opts__)))
    between = [one for one in run.services if one in unfinished]
    if between:
        raise RefusedError(
            f"the upgrade of {', '.join(between)} is not finished",
            f"{again} goes on with it, salt-run state.orchestrate orch.rollback goes back",
        )
    changing = plan.images_change(run.plans)
    if not changing:
        return
    there = run.fleet.call(phase, "container.list", {host: {} for host in changing}, deadline)
    found = plan.other_releases(changing, there, release)
    if found:
        old = "; ".join(f"{one} runs in {', '.join(services)}" for one, services in found.items())
        raise RefusedError(
            f"saltern:release is {release}, but {old}: that is an upgrade",
            f"{again}, or set saltern:release back",
        )
