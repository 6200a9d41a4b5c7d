# SPDX-License-Identifier: GPL-2.0-or-later
"""What nuncio tells systemd, or whoever started it: sd_notify(3)."""

import json
import signal
import subprocess
import time

import pytest

import etcd
from lab import TOOLS
from service_manager import ServiceManager
from test_announce import Announcer

LINK = {"listen": "9000", "service": "web"}


def write_config(lab, **config):
    path = lab.path / "nuncio.json"
    path.write_text(json.dumps(config))
    return path


def test_ready_with_the_first_endpoints_then_what_changes(web):
    manager = ServiceManager(web)
    daemon = web.start("--link", "9000=web", "--link", "9001=none", prefix=manager.prefix())
    ready = manager.wait_for_key("READY")
    assert ready == {"READY": "1", "STATUS": "2 links, 3 endpoints (1 without)"}
    web.registry.write({"web": web.endpoints()[:2], "none": web.endpoints()[:1]})
    assert manager.wait_for_status("2 links, 3 endpoints") == "2 links, 3 endpoints"
    web.registry.write("{")
    assert web.registry.uri in manager.wait_for_status("2 links, 3 endpoints; ")
    assert "WATCHDOG" not in str(manager.messages)
    daemon.kill(signal.SIGTERM)
    manager.wait_for_key("STOPPING")
    assert daemon.wait() == 0


def test_not_ready_before_all_namespaces_are_served(web):
    """One that is made later: READY comes with it, and the status says what is missing before that."""
    manager = ServiceManager(web)
    later = f"{web.app}-later"
    config = write_config(web, registry=web.registry.uri, ambassadors=[
        {"netns": str(web.app), "links": [LINK]}, {"netns": later, "links": [LINK]}])
    web.start("-c", config, namespace=None, registry=False, prefix=manager.prefix(), wait=False)
    message = manager.wait_for(lambda message: "STATUS" in message)
    assert "READY" not in message and later in message["STATUS"], message
    try:
        subprocess.run(["ip", "netns", "add", later], check=True)
        assert manager.wait_for_key("READY")["STATUS"] == "2 links, 6 endpoints"
    finally:
        subprocess.run(["ip", "netns", "del", later], check=True)


def test_reload(web):
    manager = ServiceManager(web)
    config = write_config(web, registry=web.registry.uri, links=[LINK])
    daemon = web.start("-c", config, registry=False, prefix=manager.prefix())
    manager.wait_for_key("READY")

    began = time.monotonic_ns() // 1000
    config.write_text("{ broken")
    daemon.kill(signal.SIGHUP)
    assert int(manager.wait_for_key("RELOADING")["MONOTONIC_USEC"]) >= began
    told = manager.wait_for_key("READY")["STATUS"]
    assert told.startswith("1 link, 3 endpoints; reload failed, the old configuration stays: ") and str(config) in told

    write_config(web, registry=web.registry.uri, links=[LINK, dict(LINK, listen="9001")])
    daemon.kill(signal.SIGHUP)
    manager.wait_for_key("RELOADING")
    # Ready again is who has it in the kernel.
    assert manager.wait_for_key("READY")["STATUS"] == "2 links, 6 endpoints"
    assert web.app.reaches("127.0.0.1:9001")


def test_alive(web):
    """On an abstract socket. A process that stands still says nothing; the watchdog of another one is not ours."""
    manager = ServiceManager(web, "@nuncio-test", web.app)
    daemon = web.start("--link", "9000=web", prefix=manager.prefix(WATCHDOG_USEC=100000))
    for _ in range(5):
        manager.wait_for_key("WATCHDOG")
    daemon.stop()

    daemon = web.start("--link", "9000=web", prefix=manager.prefix(WATCHDOG_USEC=2, WATCHDOG_PID=1))
    manager.wait_for_key("READY")
    daemon.stop()
    manager.wait_for_key("STOPPING")
    assert "WATCHDOG" not in str(manager.messages)


def test_nobody_listens(web):
    """A socket that is not there, and one that is no address: nuncio works all the same."""
    for name in (web.path / "nobody.sock", "nonsense", "@", "/" + 200 * "x"):
        daemon = web.start("--link", "9000=web", prefix=["env", f"NOTIFY_SOCKET={name}", "WATCHDOG_USEC=1000"])
        assert web.app.reaches("127.0.0.1:9000")
        daemon.stop()


@pytest.mark.lab(backends=1)
def test_announce(lab):
    """Ready when it is announced; what it starts is told nothing of the service manager."""
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    cluster = etcd.Cluster(lab)
    manager = ServiceManager(lab)
    backend = lab.backends[0]
    seen = lab.path / "environment"
    server = f"env > {seen}; exec {TOOLS}/responder b1 {backend.v4}:8080"
    announcer = Announcer(lab, cluster, "--endpoint", f"{backend.v4}:8080", "--check", "tcp", "--", "sh", "-c", server,
                          prefix=manager.prefix(WATCHDOG_USEC=1000000))
    ready = manager.wait_for_key("READY")
    assert ready["STATUS"].startswith(f"{backend.v4}:8080 is announced, as /services/web/{backend.v4}:8080 ")
    assert "NOTIFY_SOCKET" not in seen.read_text() and "WATCHDOG" not in seen.read_text()
    manager.wait_for_key("WATCHDOG")
    announcer.end(code=128 + signal.SIGTERM)
    manager.wait_for_key("STOPPING")
    assert manager.wait_for_status("withdrawn")
