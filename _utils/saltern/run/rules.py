"""The rules of remediation: what can be wrong, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltern.containers import faults
from saltern.host import look

# What the pillar can say of a rule.
OBSERVE, ACT, OFF = "observe", "act", "off"
# What can be done: nothing, or one of these, which lose no data.
SHOW, START, RESTART, APPLY, RECOVER = "", "start", "restart", "apply", "recover"


@dataclass(frozen=True)
class Rule:
    """What is done about one kind of fault.

    :ivar action: The only thing that it can do; nothing: it is shown, whatever the pillar says.
    :ivar summary: What is wrong, in a few words.
    """

    action: str
    summary: str

    @property
    def default(self) -> str:
        """Return what is done where the pillar says nothing: what can be done loses no data."""
        return ACT if self.action else OBSERVE


SERVICE = "service_down"
MEMBER, DATABASE, SILENT, UNWATCHED = (
    "member_unhealthy",
    "database_down",
    "host_silent",
    "unwatched",
)
CLOCK, DISK, CERTIFICATE = "clock_offset", "disk_short", "certificate_expires"

RULES: Mapping[str, Rule] = {
    faults.STOPPED: Rule(START, "a container ended and nobody has stopped it"),
    faults.UNHEALTHY: Rule(RESTART, "a container fails its health check, or exits again and again"),
    faults.MISSING: Rule(APPLY, "a container was removed"),
    faults.CHANGED: Rule(APPLY, "a container was made anew or otherwise by hand"),
    faults.CONFIGURATION: Rule(APPLY, "configuration on the disk was edited or removed"),
    faults.IMAGE: Rule(APPLY, "an image that a container was made from was removed"),
    DATABASE: Rule(RECOVER, "no member of a database cluster is up"),
    # A member that receives a full copy is unhealthy for as long as that takes: restarted, it begins again.
    MEMBER: Rule(SHOW, "a member of a cluster fails its health check while others are up"),
    faults.BY_HAND: Rule(SHOW, "somebody has stopped a container"),
    SERVICE: Rule(SHOW, "Nova, Neutron or Cinder holds one of its services for down"),
    look.DOCKER: Rule(SHOW, "Docker does not answer on a host"),
    SILENT: Rule(SHOW, "a minion does not answer"),
    UNWATCHED: Rule(SHOW, "the watch of a host's containers does not live"),
    CLOCK: Rule(SHOW, "a host's clock is off"),
    DISK: Rule(SHOW, "a disk has too little room"),
    CERTIFICATE: Rule(SHOW, "a certificate expires soon"),
}


def of(settings: Mapping[str, Any], name: str) -> str:
    """Return what the pillar says of a rule.

    :param settings: ``saltern:remediation`` of the pillar.
    """
    said = settings.get("rules", {}).get(name) or RULES[name].default
    may_act = settings.get("enabled", True) and RULES[name].action
    return OBSERVE if said == ACT and not may_act else said
