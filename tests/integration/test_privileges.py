# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon may still do, and that it is enough; that the rest is refused is in tests/unit/test_privileges.c."""

import json
import os
import pathlib
import signal

import pytest

from daemon import NUNCIO, WRAPPER
from waiting import wait_until

NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN, DAC_READ_SEARCH = 12, 13, 19, 21, 2
NEEDED = sum(1 << number for number in (NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN, DAC_READ_SEARCH))
LINK = {"listen": "9000", "service": "web"}


def status_of(process):
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def sanitized():
    return b"__asan_init" in pathlib.Path(NUNCIO).read_bytes()


def test_only_what_is_needed(web):
    own = status_of("self")
    daemon = web.start("--link", "9000=web")
    status = status_of(daemon.pid)
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == int(own["CapPrm"], 16) & NEEDED
    if not sanitized():
        assert status["Seccomp"] == "2"
    daemon.stop()
    daemon = web.start("--link", "9000=web", "--keep-privileges")
    status = status_of(daemon.pid)
    assert (status["CapPrm"], status["Seccomp"]) == (own["CapPrm"], own["Seccomp"])


@pytest.mark.lab(second_app=True)
def test_it_is_enough(web):
    """What may come long after the start: other namespaces, one by a foreign process, weights by hand."""
    config = web.path / "nuncio.json"
    app = {"netns": str(web.app), "links": [LINK]}
    config.write_text(json.dumps({"registry": web.registry.uri, "ambassadors": [app]}))
    daemon = web.start("-c", config, registry=False, namespace=None)
    # A process of somebody else's in the namespace, which has no capability that we do not have.
    sleeper = web.app2.popen("setpriv", "--reuid=65534", "--clear-groups", "sleep", "1000")
    wait_until(lambda: pathlib.Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n")
    config.write_text(json.dumps({"registry": web.registry.uri, "ambassadors": [
        app, {"netns": f"pid:{sleeper.pid}", "links": [LINK]}]}))
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: web.app.reaches("127.0.0.1:9000") and web.app2.reaches("127.0.0.1:9000"), 10, daemon.log)
    daemon.ask("drain", "web", "b1", "--netns", str(web.app))
    assert json.loads(web.state(None).read_text())
    # A registry's file that only its owner may read.
    os.chown(web.registry.path, 65534, 65534)
    web.registry.path.chmod(0o600)
    theirs = web.path / "theirs.json"
    theirs.write_text(json.dumps({"web": web.endpoints()[1:]}))
    theirs.chmod(0o600)
    os.chown(theirs, 65534, 65534)
    theirs.rename(web.registry.path)
    wait_until(lambda: set(daemon.endpoints("web")) == {"b2", "b3"}, 10, daemon.log)
    assert "ermitted" not in daemon.log() and "ermission" not in daemon.log(), daemon.log()


@pytest.mark.skipif(bool(WRAPPER), reason="the wrapper's own needs are not ours")
def test_without_privileges_to_lose(web):
    """One that has only some of them, and may not change any: as under systemd, and in a container."""
    drop = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all,+net_admin"]
    daemon = web.start("--link", "9000=web", prefix=drop)
    assert int(status_of(daemon.pid)["CapPrm"], 16) == 1 << NET_ADMIN
    assert web.app.reaches("127.0.0.1:9000")
    assert "cannot be dropped" not in daemon.log()
