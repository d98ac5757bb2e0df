"""Each lock has a version of everything that each image needs, resolved as a build does but without one."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from saltern.images.context import PYTHON, context
from saltern.images.options import Options
from saltern.images.workshop import Workshop

pytestmark = [pytest.mark.docker, pytest.mark.index]
ROOT = Path(__file__).parents[2] / "images"
# As build-python does. Some archives tell what they need only when they are looked at by their own build.
RESOLVE = r"""
set -e
apt-get -q update >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $PACKAGES >/dev/null
echo 'setuptools<81' >/tmp/build-constraints.txt
cd /locks
for image in *; do
    /opt/uv/bin/uv pip compile -q --no-header --no-annotate --python /usr/bin/python3 \
        --build-constraints /tmp/build-constraints.txt --constraints $image/constraints.txt \
        $image/packages.txt >/tmp/needed || { echo "$image: cannot be resolved"; continue; }
    sed 's/==.*//' /tmp/needed | sort >/tmp/names
    sed 's/==.*//' $image/constraints.txt | sort | comm -23 /tmp/names - | sed "s/^/$image: not in the lock: /"
done
"""


@pytest.mark.parametrize("release", sorted(path.stem for path in ROOT.glob("locks/*.txt")))
def test_the_lock_has_all_that_the_images_need(tmp_path: Path, release: str) -> None:
    none = str(tmp_path / "none")
    shop = Workshop(ROOT, Options(release=release, overrides=none, patches=none))
    packages: set[str] = set()
    for name, image in shop.images.items():
        files = context(image, shop.catalog, shop.options).files
        for file in ("packages.txt", "constraints.txt"):
            if isinstance(text := files.get(f"{PYTHON}/{file}"), bytes):
                (tmp_path / "locks" / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / "locks" / name / file).write_bytes(text)
                packages.update(image.variables["build_packages"])
    client = docker.from_env(timeout=3600)
    said = client.containers.run(
        Workshop(ROOT, Options()).name("openstack-builder"),
        ["bash", "-c", RESOLVE],
        environment={"PACKAGES": " ".join(sorted(packages))},
        volumes=[f"{tmp_path}/locks:/locks:ro"],
        network_mode="host",
        remove=True,
    )
    assert said.decode() == ""
