# SPDX-License-Identifier: GPL-2.0-or-later
"""Large libraries are loaded by those who need them, when they do."""

import pathlib
import re
import subprocess

import pytest

from daemon import LOADED

METRICS = "127.0.0.1:9180"
ETCD = "etcd://127.0.0.1:1"  # nobody is there

USES = [
    pytest.param("libcurl", ["--registry", ETCD], id="curl"),
    pytest.param("libmicrohttpd", ["--metrics", METRICS], id="microhttpd"),
]


def loaded(daemon):
    """The libraries in a process, by name."""
    maps = pathlib.Path(f"/proc/{daemon.pid}/maps").read_text()
    return set(re.findall(r"/(lib[^/]+?)[-.\d]*\.so", maps))


def file_of(library):
    listing = subprocess.run(["ldd", LOADED], capture_output=True, text=True, check=True)
    return re.search(rf"{library}\.so\S* => (\S+)", listing.stdout).group(1)


@pytest.mark.parametrize("library, use", USES)
def test_a_library_is_loaded_where_it_is_used(lab, library, use):
    without = lab.start("--link", "9000=web")
    assert "libuv" in loaded(without) and library not in loaded(without)
    without.stop()
    # With etcd it never gets ready: nobody answers.
    within = lab.start("--link", "9000=web", *use, registry="--registry" not in use, wait=False)
    within.wait_for_log(r"\bready\b" if library == "libmicrohttpd" else r"etcd.*refused")
    assert library in loaded(within)


@pytest.mark.parametrize("library, use", USES)
def test_a_missing_library_is_named(lab, library, use):
    hide = f'mount --bind /dev/null "$(readlink -f {file_of(library)})" && exec "$@"'
    registry = [] if "--registry" in use else ["--registry", lab.registry.uri]
    done = lab.nuncio("run", "--link", "9000=web", *registry, *use, "--control", lab.path / "control.sock",
                      prefix=["unshare", "-m", "sh", "-c", hide, "sh"])
    assert done.returncode == 1
    assert re.search(rf"cannot load a library: .*{library}", done.stderr)
