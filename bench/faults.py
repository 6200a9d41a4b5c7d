# SPDX-License-Identifier: GPL-2.0-or-later
"""What clients see of changes and failures: three backends, a steady load of new connections, and something happens."""

import json
import pathlib
import signal
import socket
import subprocess
import time

from controlpath import LISTEN, PORT, Place
from waiting import wait_until

LOAD = {"rate": 300, "concurrency": 32, "timeout": 60000}
BEFORE_S, AFTER_S = 1, 2
DARK_S = 12  # how long a backend is away


class Contender:
    """Three backends behind LISTEN; change(names) leaves some of them."""

    label = ""

    def __init__(self, rig):
        self.rig = rig
        self.place = Place(rig, f"f{rig.next_number()}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Nuncio(Contender):
    label = "nuncio"
    options = {}  # of its link
    arguments = ()

    def start(self):
        self.change(self.place.backends)
        self.launch()

    def launch(self):
        link = {"listen": f"{LISTEN[0]}:{LISTEN[1]}", "service": "s", **self.options}
        self.daemon = self.rig.start_nuncio(self.place.namespace, {"registry": self.registry(), "links": [link]},
                                            arguments=self.arguments)

    def registry(self):
        return f"file:{self.place.path}/services.json"

    def change(self, names):
        new = self.place.path / "new"
        new.write_text(json.dumps({"s": [{"id": name, "host": self.place.backends[name], "port": PORT} for name in names]}))
        new.rename(self.place.path / "services.json")

    def without_registry(self, body):
        (self.place.path / "services.json").write_text("{")
        body()
        self.change(self.place.backends)

    def kill(self):
        self.daemon.kill()

    def replace(self):
        self.daemon.stop()
        self.launch()

    def stop(self):
        self.daemon.stop()


class NuncioShared(Nuncio):
    """Whose table anybody may take away, as before Linux 6.9."""

    label = "nuncio, --share-table"
    arguments = ("--share-table",)


class NuncioEjecting(Nuncio):
    """Without checks: who refuses or does not answer is left out for a while."""

    label = "nuncio, eject"
    options = {"eject": True}


class NuncioOfEtcd(Nuncio):
    label = "nuncio, etcd"

    def registry(self):
        return f"etcd://{self.rig.etcd().address}/{self.place.name}"

    def change(self, names):
        for name in self.place.backends:
            key, value = f"/{self.place.name}/s/{name}", f"{self.place.backends[name]}:{PORT}"
            if name in names:
                self.rig.etcd_put([(key, value)])
            else:
                self.rig.etcd_delete(key)

    def without_registry(self, body):
        self.rig.interrupt_etcd(body)


class NuncioChecked(Nuncio):
    """With checks as often as HAProxy's are here."""

    label = "nuncio, check=tcp"
    options = {"check": "tcp"}


class HAProxy(Contender):
    """With its health checks as most write them; what changes is told to its runtime API."""

    label = "HAProxy, runtime API"

    def start(self):
        self.write(self.place.backends)
        self.launch()

    def write(self, names):
        servers = "".join(f"  server {name} {self.place.backends[name]}:{PORT} check inter 2s fall 3 rise 2\n" for name in names)
        new = self.place.path / "new"
        new.write_text(
            f"global\n  maxconn 4000\n  stats socket {self.place.path}/admin level admin expose-fd listeners\n"
            "defaults\n  mode tcp\n  balance roundrobin\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
            f"  option redispatch\nlisten s\n  bind {LISTEN[0]}:{LISTEN[1]}\n{servers}")
        new.rename(self.place.path / "haproxy.cfg")

    def launch(self):
        self.process = self.place.namespace.popen(
            "haproxy", "-W", "-f", self.place.path / "haproxy.cfg", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def change(self, names):
        for name in self.place.backends:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(self.place.path / "admin"))
                admin.sendall(f"set server s/{name} state {'ready' if name in names else 'drain'}\n".encode())
                admin.recv(4096)

    def replace(self):
        """Its own way: a new worker takes over the sockets, the old one ends its connections."""
        self.process.send_signal(signal.SIGUSR2)

    def kill(self):
        self.process.kill()
        self.process.wait()
        for pid in self.rig.pids(self.place.namespace):
            if pathlib.Path(f"/proc/{pid}/comm").read_text() == "haproxy\n":
                self.rig.kill(pid)


class HAProxyReload(HAProxy):
    """The same, but what changes is written to its file, which it is told to read."""

    label = "HAProxy, reload"
    CHANGE_PAUSE_S = 0.2

    def change(self, names):
        self.write(names)
        self.process.send_signal(signal.SIGUSR2)


def changes(contender, count):
    """One of three backends leaves and comes back, again and again."""
    pause = getattr(contender, "CHANGE_PAUSE_S", 0.002)
    names = list(contender.place.backends)
    for i in range(count):
        contender.change(names[:2] if i % 2 == 0 else names)
        time.sleep(pause)


def restart(contender):
    contender.kill()
    time.sleep(1)
    contender.launch()


def replacement(contender):
    contender.replace()
    time.sleep(1)


def flushes(contender):
    for _ in range(20):
        contender.place.namespace.run("nft", "flush ruleset")
        time.sleep(0.2)


def crash(contender):
    """The server's process ends, so its port refuses; and is back later."""
    contender.rig.stop_server("b3")
    time.sleep(DARK_S)
    contender.rig.start_server("b3")


def black_hole(contender):
    """Packets to the server get lost, without a word; and are let through later."""
    backend = contender.rig.lab.backends[2]
    backend.run("nft", "add table inet dark; add chain inet dark in { type filter hook input priority 0; };"
                       f" add rule inet dark in tcp dport {PORT} drop")
    time.sleep(DARK_S)
    backend.run("nft", "delete table inet dark")


def registry_outage(contender):
    contender.without_registry(lambda: time.sleep(DARK_S))


SCENARIOS = {
    "1,000 changes": (lambda contender: changes(contender, 1000), (Nuncio, HAProxy)),
    "30 changes, 0.2 s apart": (lambda contender: changes(contender, 30), (HAProxyReload,)),
    "killed with SIGKILL, started again after 1 s": (restart, (Nuncio, HAProxy)),
    "replaced by a new process": (replacement, (Nuncio, HAProxy)),
    "nft flush ruleset, 20 times": (flushes, (Nuncio, NuncioShared)),
    "a backend refuses for 12 s": (crash, (Nuncio, NuncioChecked, NuncioEjecting, HAProxy)),
    "a backend is silent for 12 s": (black_hole, (Nuncio, NuncioChecked, NuncioEjecting, HAProxy)),
    "the registry is away for 12 s": (registry_outage, (Nuncio, NuncioOfEtcd)),
}


def measure(rig, scenario, kind):
    contender = kind(rig)
    contender.start()
    client, at = contender.place.client, f"{LISTEN[0]}:{LISTEN[1]}"
    wait_until(lambda: client.reaches(at), 20, f"{kind.label} to serve")
    time.sleep(1)
    hammer = client.start_hammer(at, **LOAD, seconds=10000)
    time.sleep(BEFORE_S)
    SCENARIOS[scenario][0](contender)
    time.sleep(AFTER_S)
    result = hammer.stop()
    contender.stop()
    return {"who": kind.label, "connections": result["ok"] + result["failed"], "failed": result["failed"],
            "errors": result["errors"], "p99_ms": result["p99_ms"], "max_ms": result["max_ms"]}
