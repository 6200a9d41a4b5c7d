# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make system` runs: the package, in a machine of its own.

    NUNCIO_DEB=build/deb/nuncio_0.1.0_amd64.deb pytest-3 tests/system

The machine's system is made once, in build/system, from Debian's mirror. Where that is impossible, they are skipped.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "tests/integration"))  # for waiting.py

import machine as machines  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("NUNCIO_TOOLS", REPOSITORY / "build/tools"))


def base_root():
    """A system to copy, from the last time where it is still what is wanted."""
    path = REPOSITORY / "build/system/root"
    stamp = path.with_name("packages")
    wanted = " ".join(machines.PACKAGES)
    if not path.exists() or not stamp.exists() or stamp.read_text() != wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        machines.make_root(path)
        stamp.write_text(wanted)
    return path


@pytest.fixture(scope="session")
def package():
    """The package under test."""
    path = os.environ.get("NUNCIO_DEB")
    assert path, "NUNCIO_DEB names the package: `make system` builds it, and sets that"
    return pathlib.Path(path).resolve()


def repack(package, version, directory):
    """The same package with another version."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = [f"Version: {version}" if line.startswith("Version: ") else line
             for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    made = directory / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, made], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return made


@pytest.fixture(scope="module")
def machine(package, tmp_path_factory):
    """With the package (not installed) as /opt/packages/nuncio.deb and a newer one beside it."""
    if machines.obstacle():
        pytest.skip(machines.obstacle())
    packages = tmp_path_factory.mktemp("packages")
    shutil.copy(package, packages / "nuncio.deb")
    repack(package, "99.0", packages)
    binds = [f"{TOOLS}:/opt/tools", f"{packages}:/opt/packages"]
    if shutil.which("etcd"):
        binds.append(f"{shutil.which('etcd')}:/opt/etcd")
    made = machines.Machine(base_root(), binds)
    yield made
    made.close()
