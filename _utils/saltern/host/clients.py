"""What a person needs to use the cloud from a host: openrc and an ``openstack`` command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARK = "# Written by Saltern (orch.post_deploy); changes here are lost."
_WRAPPER = """\
#!/bin/bash
{mark}
# The OpenStack client of the toolbox image. It sees the current directory, the files that arguments
# name by an absolute path (and the folder of one that it is to write), and {etc}/clouds.yaml.
set -eu
options=(--rm --interactive)
if [[ -t 0 && -t 1 ]]; then options+=(--tty); fi
declare -A seen=()

show() {{  # path: give it to the container, unless it would hide a folder of the image
    case $1 in
        / | /bin* | /dev* | /etc | /lib* | /opt | /proc* | /run* | /sbin* | /sys* | /usr* | /var | /var/tmp) ;;
        *) if [[ -z ${{seen[$1]:-}} ]]; then seen[$1]=1 options+=(--volume "$1:$1"); fi ;;
    esac
}}

show "$PWD"
for argument in "$@"; do
    path=${{argument#--*=}}
    if [[ $path == /* && -f $path ]]; then
        show "$path"
    elif [[ $path == /*/* && -d ${{path%/*}} ]]; then
        show "${{path%/*}}"
    fi
done
exec docker run "${{options[@]}}" --network host --user 0:0 --cap-drop ALL \\
    --cap-add DAC_OVERRIDE --security-opt no-new-privileges --read-only --tmpfs /var/tmp \\
    --env HOME=/var/tmp --env TMPDIR=/var/tmp --env OS_CLOUD="${{OS_CLOUD:-saltern}}" \\
    --env OS_CLIENT_CONFIG_FILE=/etc/openstack/clouds.yaml \\
    --volume {etc}/clouds.yaml:/etc/openstack/clouds.yaml:ro \\
{volumes}    --workdir "$PWD" --entrypoint openstack {image} "$@"
"""


def openrc(clouds: Mapping[str, Any], name: str = "saltern") -> str:
    """Return a file for ``source`` with the settings of one cloud of a ``clouds.yaml``.

    :param clouds: The parsed file.
    """
    cloud = clouds["clouds"][name]
    values = {**cloud["auth"], **{key: value for key, value in cloud.items() if key != "auth"}}
    lines = [
        f"export OS_{key.upper()}={shlex.quote(str(value))}"
        for key, value in sorted(values.items())
    ]
    return "\n".join([MARK, *lines, ""])


def introduction(cloud: Any, etc: str, hosts: Sequence[str], dashboard: str) -> str:
    """Return what people need to go on with a cloud that is new to them.

    :param cloud: A :class:`saltern.cloud.model.Cloud`.
    :param etc: Folder that holds ``clouds.yaml``.
    :param hosts: Those that have the credentials.
    :param dashboard: The service that people open in a browser.
    """
    lines = [""]
    if cloud.placement.get(dashboard):
        port = next(iter(cloud.catalog[dashboard]["ports"].values()))["port"]
        scheme = "https" if cloud.settings["tls"]["external"] else "http"
        url = f"{scheme}://{cloud.settings['external_name']}:{port}/"
        lines.append(f"  Dashboard    {url} (user admin, domain Default)")
    if hosts:
        lines.append(f"  Credentials  {etc}/clouds.yaml and openrc on {', '.join(hosts)}")
    commands = {
        "make demo": "boots a first instance and fetches a page from it",
        "openstack catalog list": "lists what the cloud offers",
        "salt-run saltern.status": "shows what runs, and what is not well",
    }
    lines += [
        f"  {'Next' if number == 0 else '':11}  {command:24} {what}"
        for number, (command, what) in enumerate(commands.items())
    ]
    return "\n".join(lines)


def wrapper(image: str, etc: str, volumes: Iterable[str] = ()) -> str:
    """Return the script ``openstack``.

    :param image: Full name of the toolbox image.
    :param etc: Folder that holds ``clouds.yaml``.
    :param volumes: Volumes of the toolbox, ``name:target``: its compiled Python makes a start quick.
    """
    lines = "".join(f"    --volume {shlex.quote(volume)} \\\n" for volume in volumes)
    names = {"image": shlex.quote(image), "etc": shlex.quote(etc), "volumes": lines}
    return _WRAPPER.format(mark=MARK, **names)
