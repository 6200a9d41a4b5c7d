# SPDX-License-Identifier: GPL-2.0-or-later
"""What a running nuncio tells of what it does: the journal, over the control socket and by `nuncio events`."""

import json
import queue
import re
import signal
import socket
import subprocess
import threading
import types

import pytest

from daemon import command
from waiting import scaled

B1, B2 = "10.77.0.11:8080", "10.77.0.12:8080"


class Following:
    """A `nuncio events` that follows; its lines come one by one."""

    def __init__(self, daemon, *args):
        self.process = subprocess.Popen(command("events", *args, "--control", daemon.control), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next(self, pattern):
        """The next line that matches."""
        while True:
            line = self.lines.get(timeout=scaled(10))
            if re.search(pattern, line):
                return line

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(scaled(5))


@pytest.fixture
def follow():
    followers = []

    def begin(*args):
        followers.append(Following(*args))
        return followers[-1]

    yield begin
    for one in followers:
        one.process.kill()
        one.process.wait()


def test_what_changed_why_and_how_long_it_took(web, follow):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=other")
    all_of_it, web_only = follow(daemon, "--json"), follow(daemon, "web")
    assert json.loads(all_of_it.next("ready"))["cause"] == "configuration"
    web_only.next("new, 127.0.0.1:9000")
    web.registry.write({"web": [B1, B2]})
    event = json.loads(all_of_it.next('"link":"web"[^}]*-b3'))
    assert (event["netns"], event["cause"], event["level"]) == ("", "registry", "info")
    assert event["latency_ms"] > 0 and event["messages"] > 0
    assert json.loads(all_of_it.next('"link":"other"[^}]*-b3'))["number"] > event["number"] - 2
    assert re.search(r"web: .*-b3.*  \(registry; 2 endpoints in 2 slots; .* ms\)$", web_only.next("-b3"))
    daemon.ask("drain", "web", B1)
    assert re.search(r"web: endpoint \S+ is drained by hand  \(operator; \d+\.\d+ ms\)$", web_only.next("drained"))
    shown = daemon.ask("events", "--no-follow", "-n", "1", "other")
    assert len(shown.splitlines()) == 1 and "other: " in shown and "\033" not in shown
    assert web_only.end() == -signal.SIGINT


def test_an_outage_is_told_and_its_end(web, follow):
    daemon = web.start("--link", "9000=web")
    follower = follow(daemon, "-n", "0", "--json")
    web.registry.write("not JSON")
    assert json.loads(follower.next("endpoints stay"))["level"] == "warning"
    web.registry.write({"web": [B1]})
    assert json.loads(follower.next("answers again"))["cause"] == "registry"


def test_the_next_nuncio_is_followed(web, follow):
    control = web.path / "control.sock"
    daemon = web.start("--link", "9000=web")
    control.symlink_to(daemon.control)
    follower = follow(types.SimpleNamespace(control=control))
    follower.next("ready")
    daemon.stop()
    control.unlink()
    control.symlink_to(web.start("--link", "9000=web").control)
    follower.next("took over the table")


def subscribe(daemon, **options):
    """A connection that follows, and what can be read of it."""
    connection = socket.socket(socket.AF_UNIX)
    for option, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    connection.settimeout(scaled(10))
    connection.connect(str(daemon.control))
    connection.sendall(b'{"command":"events","follow":true}\n')
    stream = connection.makefile("r")
    assert "events" in json.loads(stream.readline())
    return connection, stream


def test_who_does_not_read_is_let_go(lab):
    """Its backlog is bounded, and the others are told on."""
    services = [f"s{i}" for i in range(90)]
    lab.registry.write({name: [B1] for name in services})
    daemon = lab.start(*[arg for i, name in enumerate(services) for arg in ("--link", f"{9000 + i}={name}")])
    lazy, behind = subscribe(daemon, SO_RCVBUF=1)
    busy, events = subscribe(daemon)
    with lazy, busy:
        for turn in range(50):
            lab.registry.write({name: [[B2], [B1]][turn % 2] for name in services})
            seen = [json.loads(events.readline()) for _ in services]
            assert {event["link"] for event in seen} == set(services)
        lines = behind.readlines()
    assert "faster than they were read" in json.loads(lines[-1])["error"]
    assert all("number" in json.loads(line) for line in lines[:-1])


def test_nobody_there(tmp_path):
    done = subprocess.run(command("events", "--control", tmp_path / "none"), capture_output=True, text=True)
    assert done.returncode == 1 and "no nuncio answers" in done.stderr
