# SPDX-License-Identifier: GPL-2.0-or-later
"""Active checks: who does not answer is out of rotation, and back when it does; why, and since when, can be read."""

import json
import signal
import socket

import pytest

from waiting import scaled, wait_until
from web import Web

# Quick enough for tests, patient enough for a slow machine.
QUICK = {"interval": "200ms", "fast_interval": "100ms", "timeout": f"{int(scaled(500))}ms"}
TCP = {"type": "tcp", **QUICK}
HTTP = {"type": "http", "path": "/health", **QUICK}


def start(lab, check, listen="9000", **link):
    """nuncio with one link "web" whose endpoints are checked."""
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({"links": [{"listen": listen, "service": "web", "check": check, **link}]}))
    return lab.start("-c", config)


def verdicts(daemon, link="web"):
    return {name: endpoint["check"]["verdict"] for name, endpoint in daemon.endpoints(link).items()}


def states(daemon, link="web"):
    return {name: endpoint["state"] for name, endpoint in daemon.endpoints(link).items()}


def wait_for_states(daemon, timeout=10, **expected):
    wait_until(lambda: states(daemon) == expected, timeout, lambda: f"{expected}: {daemon.ask('explain', 'web')}")


def wait_for_verdicts(daemon, timeout=10, **expected):
    wait_until(lambda: verdicts(daemon) == expected, timeout, lambda: f"{expected}: {daemon.ask('explain', 'web')}")


def wait_for_reason(daemon, name, text, timeout=10):
    wait_until(lambda: text in daemon.endpoints("web")[name]["check"]["reason"], timeout,
               lambda: f"{text}: {daemon.ask('explain', 'web')}")


def served_by(lab, target="127.0.0.1:9000", count=30):
    result = lab.app.hammer(target, count=count)
    assert result["failed"] == 0, result["errors"]
    return set(result["by"])


def filter_port(backend, rule="tcp dport 8080 drop"):
    backend.run("nft", "add table inet filtered; add chain inet filtered in { type filter hook input priority 0; }; "
                       f"add rule inet filtered in {rule}")


def unfilter(backend):
    backend.run("nft", "delete table inet filtered")


def test_a_process_dies_and_comes_back(lab):
    """The whole of it: out of rotation, the log, the reasons, and back."""
    lab.registry.write({"web": lab.endpoints()})
    responders = [backend.serve() for backend in lab.backends]
    daemon = start(lab, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    assert served_by(lab) == {"b1", "b2", "b3"}
    with daemon.logs(r"link web: b1 is down: refused \(3 checks in a row\)"):
        responders[0].kill()
        wait_for_states(daemon, b1="down", b2="up", b3="up")
    down = daemon.endpoints("web")["b1"]
    assert down["slots"] == 0 and down["check"]["reason"] == "refused"
    assert down["check"]["in_a_row"] >= 3 and down["check"]["last_good_seconds"] >= 0
    explanation = daemon.ask("explain", "web")
    assert "its checks fail: refused, since 0 s (" in explanation or "its checks fail: refused, since" in explanation
    assert "; last good " in explanation
    assert "10.77.0.11" not in "".join(line for line in lab.app.table().splitlines() if "numgen" in line)
    assert served_by(lab) == {"b2", "b3"}
    with daemon.logs(r"link web: b1 is up again after \d+ s"):
        lab.backends[0].serve()
        wait_for_states(daemon, b1="up", b2="up", b3="up")
    assert served_by(lab) == {"b1", "b2", "b3"}


def test_no_time_wait_is_left(web):
    daemon = start(web, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    wait_until(lambda: daemon.endpoints("web")["b1"]["check"]["in_a_row"] >= 5)
    assert web.app.run("ss", "-Htan", "state", "time-wait", "dport", "8080") == ""
