# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a change takes to become true: from the registry to the first connection on the new endpoint.

A *mover* moves one service between two backends, by whatever its way is; a client connects again and again until it is
answered by the new one.
"""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from etcd import obstacle as etcd_obstacle
from rig import REPOSITORY
from stats import cpu_seconds, memory, percentile, process_seconds, resident, summary
from waiting import wait_until

PORT = 9000  # of the service, at both backends
LISTEN = ("127.0.0.1", 81)
ALLOCATIONS = REPOSITORY / "build/bench/allocations.so"
OTHERS = 10  # endpoints of each of the services that are only there


def ask_name(at):
    """Who answers there? None: nobody."""
    try:
        with socket.create_connection(at, timeout=2) as connection:
            return connection.makefile().readline().strip()
    except OSError:
        return None


class Place:
    """The namespace where a mover's rules or proxy are, two backends, and a client."""

    def __init__(self, rig, name):
        self.rig, self.name = rig, name
        self.namespace = self.client = rig.lab.join(name, rig.next_host())
        self.backends = {backend.role: backend.v4 for backend in rig.lab.backends}
        self.path = rig.lab.path / name
        self.path.mkdir()

    def behind(self):
        """With the client on another host."""
        self.client = self.rig.lab.behind(self.namespace, network=self.namespace.host)


class Mover:
    """start() has the service on b1; move() says when it began."""

    at = LISTEN
    label = ""
    needs = ()
    pause_s = 0.02  # between two moves

    @classmethod
    def most_changes(cls, _size):
        """More take too long."""
        return 1000

    def __init__(self, rig, size):
        self.rig, self.size = rig, size
        self.place = Place(rig, f"c{rig.next_number()}")

    @classmethod
    def obstacle(cls):
        missing = [tool for tool in cls.needs if not shutil.which(tool)]
        return f"{', '.join(missing)} not installed" if missing else None

    def stop(self):
        pass

    def own_share_ms(self):
        """From the event to the kernel's acknowledgement, of each move; [] where that is not known."""
        return []


class OfNuncio(Mover):
    """`size` links, one of them to the service."""

    environment = {}

    def links(self):
        links = [{"listen": f"{LISTEN[0]}:{LISTEN[1]}", "service": "moving"}]
        links += [{"listen": f"127.1.{i // 250}.{i % 250 + 1}:80", "service": f"other{i}"} for i in range(self.size - 1)]
        return links

    def run(self, registry):
        self.daemon = self.rig.start_nuncio(self.place.namespace, {"registry": registry, "links": self.links()},
                                            environment=self.environment)

    def own_share_ms(self):
        return [float(ms) for ms in re.findall(r"link moving: .*; ([0-9.]+) ms\)$", self.daemon.log(), re.MULTILINE)[1:]]

    def stop(self):
        self.daemon.stop()


def endpoints(address):
    return [{"id": "e", "host": address, "port": PORT}]


def other_endpoints(number):
    return [f"10.{number // 250 % 250}.{number % 250}.{i + 1}:80" for i in range(OTHERS)]


class ByFile(OfNuncio):
    label = "nuncio, file"

    def start(self):
        self.directory = self.place.path / "services"
        self.directory.mkdir()
        for i in range(self.size - 1):
            (self.directory / f"other{i}.json").write_text(json.dumps(other_endpoints(i)))
        self.move("b1")
        self.run(f"file:{self.directory}")

    def endpoints(self, backend):
        return endpoints(self.place.backends[backend])

    def move(self, backend):
        new = self.place.path / "new"
        new.write_text(json.dumps(self.endpoints(backend)))
        began = time.monotonic()
        new.rename(self.directory / "moving.json")
        return began


class ByScaling(ByFile):
    """From one endpoint to two others and back: another number of slots takes another rule, and not only other elements."""

    label = "nuncio, file, scaled"

    def __init__(self, rig, size):
        super().__init__(rig, size)
        self.second_port = 20000 + rig.next_number()
        rig.lab.backends[1].serve(port=self.second_port)

    def endpoints(self, backend):
        second = [{"id": "f", "host": self.place.backends[backend], "port": self.second_port}] if backend == "b2" else []
        return super().endpoints(backend) + second


class ByEtcd(OfNuncio):
    label = "nuncio, etcd"

    @classmethod
    def obstacle(cls):
        return etcd_obstacle()

    def start(self):
        self.member = self.rig.etcd()
        self.prefix = f"/bench/{self.place.name}"
        self.rig.etcd_put([(f"{self.prefix}/other{i}/{j}", endpoint) for i in range(self.size - 1)
                           for j, endpoint in enumerate(other_endpoints(i))])
        self.move("b1")
        self.run(f"etcd://{self.member.address}{self.prefix}")

    def move(self, backend):
        began = time.monotonic()
        self.rig.etcd_put([(f"{self.prefix}/moving/e", f"{self.place.backends[backend]}:{PORT}")])
        return began


class HAProxy(Mover):
    needs = ("haproxy",)

    def configuration(self, backend):
        text = (f"global\n  maxconn 4000\n  stats socket {self.place.path}/admin level admin\n"
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
                f"listen moving\n  bind {LISTEN[0]}:{LISTEN[1]}\n  server e {self.place.backends[backend]}:{PORT}\n")
        for i in range(self.size - 1):
            servers = "".join(f"  server e{j} {endpoint}\n" for j, endpoint in enumerate(other_endpoints(i)))
            text += f"listen other{i}\n  bind 127.1.{i // 250}.{i % 250 + 1}:80\n{servers}"
        return text

    def write(self, backend):
        new = self.place.path / "new"
        new.write_text(self.configuration(backend))
        new.rename(self.place.path / "haproxy.cfg")

    def start(self):
        self.write("b1")
        self.process = self.place.namespace.popen("haproxy", "-W", "-f", self.place.path / "haproxy.cfg",
                                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class ByReload(HAProxy):
    """As confd and consul-template do it: a file is written, the proxy told to read it. Their own time is not in it."""

    label = "HAProxy, reload"
    pause_s = 0.3  # a signal that comes while it reads its file is lost

    @classmethod
    def most_changes(cls, size):
        return 30 if size < 10000 else 5

    def move(self, backend):
        began = time.monotonic()
        self.write(backend)
        self.process.send_signal(signal.SIGUSR2)
        return began


class ByRuntimeApi(HAProxy):
    label = "HAProxy, runtime API"

    def move(self, backend):
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.place.path / "admin"))
            admin.sendall(f"set server moving/e addr {self.place.backends[backend]} port {PORT}\n".encode())
            admin.recv(4096)
        return began


class ByNft(Mover):
    """kube-proxy's shape: a chain for each service and each endpoint, written as text for nft."""

    label = "nft -f, kube-proxy's shape"
    needs = ("nft",)

    @classmethod
    def most_changes(cls, _size):
        return 50

    def start(self):
        self.place.namespace.sysctl("net/ipv4/conf/eth0/route_localnet", 1)
        text = ["add table ip kube", "add map ip kube services { type ipv4_addr . inet_proto . inet_service : verdict; }",
                "add chain ip kube output { type nat hook output priority -100; }",
                "add rule ip kube output ip daddr . meta l4proto . th dport vmap @services",
                "add chain ip kube post { type nat hook postrouting priority 100; }",
                "add rule ip kube post ip saddr 127.0.0.0/8 ip daddr != 127.0.0.0/8 masquerade"]
        text += self._service("moving", f"{LISTEN[0]} . tcp . {LISTEN[1]}", [f"{self.place.backends['b1']}:{PORT}"])
        for i in range(self.size - 1):
            text += self._service(f"other{i}", f"127.1.{i // 250}.{i % 250 + 1} . tcp . 80", other_endpoints(i))
        self._load(text)
        self.endpoint = "moving-0"

    @staticmethod
    def _endpoint(name, at):
        return [f"add chain ip kube {name}", f"add rule ip kube {name} meta l4proto tcp dnat to {at}"]

    def _service(self, name, key, ats):
        lines = []
        for j, at in enumerate(ats):
            lines += self._endpoint(f"{name}-{j}", at)
        choices = ", ".join(f"{j} : goto {name}-{j}" for j in range(len(ats)))
        return [*lines, f"add chain ip kube {name}", f"add rule ip kube {name} numgen random mod {len(ats)} vmap {{ {choices} }}",
                f"add element ip kube services {{ {key} : goto {name} }}"]

    def _load(self, lines):
        subprocess.run(["nsenter", f"--net={self.place.namespace.path}", "nft", "-f", "-"], input="\n".join(lines) + "\n",
                       text=True, check=True)

    def move(self, backend):
        began = time.monotonic()
        new = f"moving-{self.rig.next_number()}"
        self._load([*self._endpoint(new, f"{self.place.backends[backend]}:{PORT}"), "flush chain ip kube moving",
                    f"add rule ip kube moving numgen random mod 1 vmap {{ 0 : goto {new} }}",
                    f"delete chain ip kube {self.endpoint}"])
        self.endpoint = new
        return began


class ByNftlb(Mover):
    label = "nftlb, HTTP API"
    needs = ("nftlb",)
    at = ("10.96.0.10", 81)

    @classmethod
    def most_changes(cls, _size):
        return 100

    def start(self):
        self.place.behind()
        self.place.namespace.ip(f"addr add {self.at[0]} dev lo")
        farms = [self._farm("moving", self.at[0], [f"{self.place.backends['b1']}:{PORT}"])]
        farms += [self._farm(f"other{i}", f"10.97.{i // 250}.{i % 250 + 1}", other_endpoints(i)[:4])
                  for i in range(self.size - 1)]
        file = self.place.path / "nftlb.json"
        file.write_text(json.dumps({"farms": farms}))
        self.process = self.place.namespace.popen("nftlb", "-l", "3", "-c", file, "-k", "bench", "-H", "127.0.0.1", "-P", "5555",
                                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def _farm(name, address, ats):
        backends = [{"name": f"e{j}", "ip-addr": at.split(":")[0], "port": at.split(":")[1], "state": "up"}
                    for j, at in enumerate(ats)]
        return {"name": name, "family": "ipv4", "virtual-addr": address, "virtual-ports": "81", "mode": "snat",
                "protocol": "tcp", "scheduler": "rr", "state": "up", "backends": backends}

    def move(self, backend):
        body = {"farms": [{"name": "moving", "backends": [
            {"name": "e0", "ip-addr": self.place.backends[backend], "port": str(PORT), "state": "up"}]}]}
        began = time.monotonic()
        with self.place.namespace.entered():
            connection = http.client.HTTPConnection("127.0.0.1", 5555, timeout=60)
            connection.request("PUT", "/farms", json.dumps(body), {"Key": "bench"})
            connection.getresponse().read()
            connection.close()
        return began

    def stop(self):
        self.process.kill()
        self.process.wait()


def time_moves(mover, count):
    """Milliseconds from each of the moves to the first connection on the new endpoint, and until who was told had answered;
    and failures on the way."""
    times, told, failed, backend = [], [], 0, "b1"
    for _ in range(count):
        backend = "b2" if backend == "b1" else "b1"
        began = mover.move(backend)
        told.append((time.monotonic() - began) * 1000)
        with mover.place.client.entered():
            while (who := ask_name(mover.at)) != backend:
                failed += who is None
                if time.monotonic() - began > 60:
                    raise AssertionError(f"{mover.label}: still {who} after 60 s")
        times.append((time.monotonic() - began) * 1000)
        time.sleep(mover.pause_s)
    return times, told, failed


def measure_moves(rig, kind, size, count):
    mover = kind(rig, size)
    mover.start()
    with mover.place.client.entered():
        wait_until(lambda: ask_name(mover.at) == "b1", 120, f"{mover.label} to serve")
    time.sleep(mover.pause_s * 3)
    time_moves(mover, 4)
    times, told, failed = time_moves(mover, count)
    own = mover.own_share_ms()
    mover.stop()
    return {"size": size, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "max_ms": max(times),
            "changes": count, "failed": failed, "told": {"p50_ms": percentile(told, 0.5), "p99_ms": percentile(told, 0.99)},
            "own": {"p50_ms": percentile(own, 0.5), "p99_ms": percentile(own, 0.99)} if own else None}


class Endpoints:
    """One link with `size` endpoints, one of which changes its port."""

    def __init__(self, rig, size):
        self.rig, self.place = rig, Place(rig, f"c{rig.next_number()}")
        self.others = [f"10.{200 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}:80" for i in range(size - 1)]

    @classmethod
    def obstacle(cls):
        return None


class EndpointsByFile(Endpoints):
    label = ByFile.label

    def fill(self):
        self.file = self.place.path / "services.json"
        self.change(1)
        return f"file:{self.file}"

    def change(self, port):
        new = self.place.path / "new"
        new.write_text(json.dumps({"s": [*self.others, {"id": "moving", "host": "10.199.0.1", "port": port}]}))
        began = time.monotonic()
        new.rename(self.file)
        return began


class EndpointsByEtcd(Endpoints):
    label = ByEtcd.label
    obstacle = ByEtcd.obstacle

    def fill(self):
        self.prefix = f"/bench/{self.place.name}"
        self.rig.etcd_put([(f"{self.prefix}/s/{i}", endpoint) for i, endpoint in enumerate(self.others)])
        self.change(1)
        return f"etcd://{self.rig.etcd().address}{self.prefix}"

    def change(self, port):
        began = time.monotonic()
        self.rig.etcd_put([(f"{self.prefix}/s/moving", f"10.199.0.1:{port}")])
        return began


def measure_endpoints(rig, kind, size, count):
    """From the change of one of many endpoints to the line in the log."""
    endpoints = kind(rig, size)
    daemon = rig.start_nuncio(endpoints.place.namespace, {
        "registry": endpoints.fill(), "links": [{"listen": f"{LISTEN[0]}:{LISTEN[1]}", "service": "s"}]})
    daemon.wait_for_log(rf"link s: .*\({size} endpoints", timeout=60)  # etcd answers after "ready"

    def change(port):
        length = daemon.log_path.stat().st_size
        began = endpoints.change(port)
        while daemon.log_path.stat().st_size == length:
            pass
        took = (time.monotonic() - began) * 1000
        time.sleep(0.02)
        return took

    change(2)
    since = len(daemon.log())
    times = [change(3 + i) for i in range(count)]
    own = [float(ms) for ms in re.findall(r"link s: .*; ([0-9.]+) ms\)$", daemon.log(since), re.MULTILINE)]
    daemon.stop()
    return {"label": kind.label, "size": size, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99),
            "changes": count, "own": {"p50_ms": percentile(own, 0.5), "p99_ms": percentile(own, 0.99)}}


def measure_start(rig, links, tries):
    """From nothing, and again over what is there; with ten endpoints each."""
    samples = {"cold_s": [], "adopt_s": [], "cpu_s": [], "rss": [], "pss": [], "own": []}
    place = Place(rig, f"c{rig.next_number()}")
    registry = place.path / "services.json"
    registry.write_text(json.dumps({f"s{i}": other_endpoints(i) for i in range(links)}))
    configuration = {"registry": f"file:{registry}", "links": [
        {"listen": f"127.{1 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}:80", "service": f"s{i}"} for i in range(links)]}
    for _ in range(tries):
        began = time.monotonic()
        daemon = rig.start_nuncio(place.namespace, configuration)
        samples["cold_s"].append(time.monotonic() - began)
        samples["cpu_s"].append(sum(process_seconds(daemon.pid)))
        time.sleep(0.5)  # what malloc() kept of the start is given back behind it
        for key, value in memory(daemon.pid).items():
            samples[key].append(value)
        daemon.kill()
        began = time.monotonic()
        daemon = rig.start_nuncio(place.namespace, configuration)
        samples["adopt_s"].append(time.monotonic() - began)
        daemon.stop()
        rig.lab.nuncio("cleanup", namespace=place.namespace)
    return {"links": links, **{key: summary(values) for key, values in samples.items()}}


class Watch:
    """CPU and memory of a process, all the time; use it as a context."""

    INTERVAL_S = 0.1

    def __init__(self, pid):
        self.pid, self.points, self._end = pid, [], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        began = last = time.monotonic()
        before = cpu_seconds(self.pid)
        while not self._end.wait(self.INTERVAL_S):
            now, cpu = time.monotonic(), cpu_seconds(self.pid)
            self.points.append({"s": now - began, "cpu_share": (cpu - before) / (now - last), "rss": resident(self.pid)})
            last, before = now, cpu

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def _storm(mover):
    """Every endpoint of every link changes, as fast as the files can be written; when the last one was written."""
    for i in range(mover.size - 1):
        new = mover.place.path / "new"
        new.write_text(json.dumps(other_endpoints(i + mover.size)))
        new.rename(mover.directory / f"other{i}.json")
    return mover.move("b2")


def measure_day(rig, links, changes):
    """A day in a few seconds: nothing, `changes` one after the other, nothing, a storm, nothing."""
    mover = ByFile(rig, links)
    mover.start()
    marks = {}
    with Watch(mover.daemon.pid) as watch:
        began = time.monotonic()
        time.sleep(3)
        marks["changes"] = time.monotonic() - began
        time_moves(mover, changes)
        mover.move("b1")
        time.sleep(3)
        before = process_seconds(mover.daemon.pid), memory(mover.daemon.pid)
        storm = time.monotonic()
        marks["storm"] = storm - began
        last = _storm(mover)
        with mover.place.client.entered():
            wait_until(lambda: ask_name(mover.at) == "b2", 60, "the storm to be over")
        ended = time.monotonic()
        time.sleep(3)
        after = process_seconds(mover.daemon.pid), memory(mover.daemon.pid)
    mover.stop()
    return {"links": links, "endpoints": (links - 1) * OTHERS + 1, "changes": changes, "marks": marks, "points": watch.points,
            "storm": {"writing_s": last - storm, "after_last_write_s": ended - last, "cpu_s": sum(after[0]) - sum(before[0]),
                      "rss_before": before[1]["rss"], "rss_after": after[1]["rss"]}}


def measure_allocations(rig, count=200):
    """Calls of malloc, calloc and realloc for each change of an endpoint."""
    counter = rig.lab.path / "allocations"
    mover = ByFile(rig, 1)
    mover.environment = {"LD_PRELOAD": str(ALLOCATIONS), "ALLOCATIONS": str(counter)}
    mover.start()
    time_moves(mover, 10)
    before = int.from_bytes(counter.read_bytes(), sys.byteorder)
    time_moves(mover, count)
    after = int.from_bytes(counter.read_bytes(), sys.byteorder)
    mover.stop()
    return {"changes": count, "allocations_per_change": (after - before) / count}


def measure_idle(rig, seconds=10):
    """What a daemon costs that has nothing to do."""
    found = []
    for kind in (ByFile, ByEtcd):
        if kind.obstacle():
            continue
        mover = kind(rig, 3)
        mover.start()
        time.sleep(1)
        before = sum(process_seconds(mover.daemon.pid))
        time.sleep(seconds)
        found.append({"label": kind.label, "cpu_share": (sum(process_seconds(mover.daemon.pid)) - before) / seconds,
                      **memory(mover.daemon.pid)})
        mover.stop()
    return found
