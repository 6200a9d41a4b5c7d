# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: ways from an application to a service on another host, each in a namespace of its own.

    client of path 1 --- namespace 1 ---+
    client of path 2 --- namespace 2 ---+--- a bridge --- b1: the services
    ...                                 |             +-- b2: where services move to
                                        +------------ registry: etcd

Each path has its own ports at the backend. Two ways to one port of one server would meet in its TIME_WAIT, where
timestamps differ by source and a SYN may be dropped: that would be measured, and not the path.
"""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

from etcd import Cluster, Connection, encode
from lab import Lab
from waiting import wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]

ETCD_BATCH = 100  # operations in one transaction; etcd takes 128
HTTP, CONNECT, STREAM = 80, 81, 5201  # what a client connects to, on its side


class Ports:
    """The ports of one path at the backend."""

    def __init__(self, index):
        self.http, self.connect, self.stream = 8000 + index, 9000 + index, 5300 + index


class Path:
    """One way. `address` and `ports` are what a client is told."""

    name = "direct"
    carries_udp = True
    needs = ()

    def __init__(self, rig, index, family=4, gateway=False):
        self.rig, self.family, self.is_gateway = rig, family, gateway
        self.there = Ports(index)
        self.namespace = self.client = rig.lab.join(f"p{index}", rig.next_host())
        if gateway:
            self.client = rig.lab.behind(self.namespace, network=self.namespace.host)
            rig.backend.ip(f"route add 10.{self.namespace.host}.0.0/24 via {self.namespace.v4}")

    @classmethod
    def obstacle(cls):
        """Why it cannot be measured here, or None."""
        missing = [tool for tool in cls.needs if not shutil.which(tool)]
        return f"{', '.join(missing)} not installed" if missing else None

    def backend_address(self):
        return self.rig.backend.v6 if self.family == 6 else self.rig.backend.v4

    def start(self):
        pass

    def forget(self):
        """Connections that were: conntrack's table would fill up over the rounds, and the last ones would pay for it."""
        self.namespace.run("conntrack", "-F")

    @property
    def address(self):
        return self.backend_address()

    @property
    def ports(self):
        return self.there

    def at(self, port):
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"

    def run(self, *args):
        return self.namespace.run(*args)

    def popen(self, *args, **options):
        return self.namespace.popen(*args, **options)

    def write(self, name, text):
        path = self.rig.lab.path / f"{self.namespace.role}-{name}"
        path.write_text(text)
        return path


class Tracked(Path):
    """What most hosts have anyway: connection tracking, since some rule asks for it."""

    name = "direct, tracked"

    def start(self):
        self.run("nft", "add table ip tracked; add chain ip tracked in { type filter hook input priority 0; };"
                        " add rule ip tracked in ct state established accept")


class _Here:
    """The ports of a path that listens on this side."""

    http, connect, stream = HTTP, CONNECT, STREAM


class LocalPath(Path):
    """One to which a client connects on its own host."""

    ports = _Here
    address = "127.0.0.1"
    VIP = "10.96.0.10"  # where clients behind it go to

    def __init__(self, rig, index, **options):
        super().__init__(rig, index, **options)
        if self.family == 6:
            self.address = "fd00:aa::1"
        elif self.is_gateway:
            self.address = self.VIP

    def take_address(self):
        """Where the path does not do that itself."""
        if self.address != LocalPath.address:
            self.namespace.ip(f"addr add {self.address} dev lo")

    def pairs(self):
        """(our port, the backend's)"""
        return ((HTTP, self.there.http), (CONNECT, self.there.connect), (STREAM, self.there.stream))


class Nuncio(LocalPath):
    name = "nuncio"

    def __init__(self, rig, index, links=3, **options):
        super().__init__(rig, index, **options)
        self.links = links

    def registry(self):
        address = self.backend_address()
        services = {f"s{ours}": [{"host": address, "port": theirs}] for ours, theirs in self.pairs()}
        for i in range(self.links - 3):
            services[f"other{i}"] = [{"host": address, "port": 10000 + j} for j in range(10)]
        return services

    def configuration(self):
        links = [{"listen": self.at(ours), "service": f"s{ours}"} for ours, _ in self.pairs()]
        links.append({"listen": f"{self.at(STREAM)}/udp", "service": f"s{STREAM}"})
        links += [{"listen": f"127.1.{i // 250}.{i % 250 + 1}:80", "service": f"other{i}"} for i in range(self.links - 3)]
        return {"registry": f"file:{self.write('services.json', json.dumps(self.registry()))}", "links": links}

    def start(self):
        self.daemon = self.rig.start_nuncio(self.namespace, self.configuration())


class HAProxy(LocalPath):
    name = "haproxy"
    carries_udp = False
    needs = ("haproxy",)

    def start(self):
        self.take_address()
        sections = [
            f"listen s{ours}\n  bind {self.at(ours)}\n  server s {self.backend_address()}:{theirs}"
            for ours, theirs in self.pairs()
        ]
        config = self.write(
            "haproxy.cfg",
            "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n"
            "  timeout server 1m\n" + "\n".join(sections) + "\n")
        self.popen("haproxy", "-db", "-f", config, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class NginxStream(LocalPath):
    name = "nginx stream"
    needs = ("nginx",)

    def start(self):
        servers = [f"server {{ listen {self.at(ours)}; proxy_pass {self.backend_address()}:{theirs}; }}"
                   for ours, theirs in self.pairs()]
        servers.append(f"server {{ listen {self.at(STREAM)} udp; proxy_pass "
                       f"{self.backend_address()}:{self.there.stream}; }}")
        config = self.write(
            "nginx.conf",
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
            f"daemon off; worker_processes auto; pid {self.rig.lab.path}/{self.namespace.role}.pid; error_log stderr crit;\n"
            "events { worker_connections 4000; }\n"
            "stream { " + "\n".join(servers) + " }\n")
        self.popen("nginx", "-c", config, stderr=subprocess.DEVNULL)


class Iptables(LocalPath):
    """What one would write by hand: one backend, no balancing, no failover."""

    name = "iptables DNAT"
    needs = ("iptables-nft",)

    def start(self):
        for ours, theirs in self.pairs():
            for protocol in ("tcp", "udp") if ours == STREAM else ("tcp",):
                self.run("iptables-nft", "-t", "nat", "-A", "OUTPUT", "-p", protocol, "-d", self.address, "--dport", ours,
                         "-j", "DNAT", "--to-destination", f"{self.backend_address()}:{theirs}")
        self.run("iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "127.0.0.0/8", "!", "-d", "127.0.0.0/8",
                 "-j", "MASQUERADE")
        self.namespace.sysctl("net/ipv4/conf/eth0/route_localnet", 1)


class Nftlb(LocalPath):
    """For clients behind it only: it translates what comes in, and nothing of its own host."""

    name = "nftlb"
    needs = ("nftlb",)
    API = ("127.0.0.1", 5555)
    KEY = "bench"

    def start(self):
        self.take_address()
        farms = [
            {"name": f"s{ours}", "family": "ipv4", "virtual-addr": self.address, "virtual-ports": str(ours), "mode": "snat",
             "protocol": protocol, "scheduler": "rr", "state": "up",
             "backends": [{"name": "b", "ip-addr": self.backend_address(), "port": str(theirs), "state": "up"}]}
            for ours, theirs in self.pairs() for protocol in ("tcp",)
        ]
        file = self.write("nftlb.json", json.dumps({"farms": farms}))
        self.popen("nftlb", "-l", "3", "-c", file, "-k", self.KEY, "-H", self.API[0], "-P", self.API[1],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Rig:
    """Namespaces, servers and paths; close() must be called."""

    def __init__(self):
        self.lab = Lab(backends=3)
        self.backend = self.lab.backends[0]
        self._index = 0
        self._hosts = itertools.count(100)  # on the bridge; see lab.py for those below
        self._numbers = itertools.count(1)
        self._etcd = self._connection = None
        self._servers = {}

    def next_host(self):
        return next(self._hosts)

    def next_number(self):
        return next(self._numbers)

    def etcd(self):
        """A member of a cluster of one, started when it is asked for first."""
        if not self._etcd:
            self._etcd = Cluster(self.lab).members[0]
        return self._etcd

    def etcd_put(self, pairs):
        """[(key, value)], many at once; the connection stays."""
        for i in range(0, len(pairs), ETCD_BATCH):
            self._etcd_ask("txn", {"success": [{"requestPut": {"key": encode(key), "value": encode(value)}}
                                               for key, value in pairs[i:i + ETCD_BATCH]]})

    def etcd_delete(self, key):
        self._etcd_ask("deleterange", {"key": encode(key)})

    def _etcd_ask(self, operation, body):
        if not self._connection:
            self._connection = Connection(self.etcd().namespace, self.etcd().namespace.v4)
            self._connection.connect()
            # http.client sends head and body apart: the second would wait for the first one's delayed acknowledgement.
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request("POST", f"/v3/kv/{operation}", json.dumps(body))
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text

    def interrupt_etcd(self, body):
        """Runs body() while there is no etcd; it comes back with all that it had."""
        if self._connection:
            self._connection.close()
            self._connection = None
        self.etcd().kill()
        body()
        self.etcd().start()
        wait_until(self.etcd().answers, 30, "etcd to be back")

    def start_server(self, role, port=9000):
        """One that says its name, at a backend."""
        backend = next(backend for backend in self.lab.backends if backend.role == role)
        self._servers[role] = backend.serve(port=port)

    def stop_server(self, role):
        self._servers[role].kill()
        self._servers[role].wait()

    def add(self, kind, **options):
        self._index += 1
        path = kind(self, self._index, **options)
        self._serve(path.there)
        path.start()
        self.wait_until_through(path)
        return path

    def start_nuncio(self, namespace, configuration, environment=None, arguments=()):
        file = self.lab.path / f"{namespace.role}.json"
        file.write_text(json.dumps(configuration))
        # A cold start of 20,000 links takes its time; "ready" is what is waited for.
        prefix = ["env", *(f"{key}={value}" for key, value in (environment or {}).items())]
        daemon = self.lab.start("-c", file, *arguments, namespace=namespace, registry=False, wait=False, prefix=prefix)
        daemon.wait_for_log(r"\bready\b", timeout=120)
        return daemon

    def _serve(self, ports):
        """The servers of one path: HTTP, one that says its name and closes, iperf3; over both families."""
        backend = self.backend
        config = self.lab.path / f"server-{ports.http}.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {self.lab.path}/server-{ports.http}.pid; error_log stderr crit;\n"
            "events { worker_connections 4000; }\n"
            "http { access_log off; keepalive_requests 1000000000; server { "
            f"listen {backend.v4}:{ports.http}; listen [{backend.v6}]:{ports.http}; return 200 ok; }} }}\n")
        backend.popen("nginx", "-c", config, stderr=subprocess.DEVNULL)
        backend.serve(port=ports.connect)
        backend.popen("iperf3", "-s", "-p", ports.stream, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for port in (ports.http, ports.stream):
            wait_until(lambda: self._listens(port), 10, f"the server on port {port}")

    def _listens(self, port):
        probe = self.lab.app.socket()
        try:
            return probe.connect_ex((self.backend.v4, port)) == 0
        finally:
            probe.close()

    def wait_until_through(self, path):
        """Until the path carries connections."""
        wait_until(lambda: path.client.reaches(path.at(path.ports.connect)), 20, f"a connection by {path.name}")

    def close(self):
        # Servers have children, which outlive a killed parent, or are started anew by one that is not dead yet.
        daemons = {daemon.pid for daemon in self.lab.daemons}
        while True:
            pids = {pid for namespace in self.lab.namespaces for pid in self.pids(namespace)} - daemons
            if not pids:
                break
            for pid in pids:
                self.kill(pid)
        with contextlib.redirect_stdout(None):  # it would show all logs, for pytest
            self.lab.close()

    @staticmethod
    def pids(namespace):
        """The processes in a namespace."""
        done = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]

    @staticmethod
    def kill(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
