# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory of network namespaces: an application, its backends and, where wanted, a client behind it.

        app 10.77.0.1 ---+                +--- b1 10.77.0.11
       app2 10.77.0.2 ---+--- a bridge ---+--- b2 10.77.0.12
                                          +--- b3 10.77.0.13
     client 10.78.0.2 --- 10.78.0.1 app        (its default route goes through app)

IPv6 alike: fd00:77::1, fd00:77::11, fd00:78::2 ... Each namespace has `lo` and `eth0`, and app has `eth1` towards the
client. The names begin with "nt-PID-", and close() deletes everything; the root namespace's rules are never touched.
"""

import contextlib
import ctypes
import ipaddress
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from daemon import Daemon, Registry, check_clean, command
from waiting import scaled, wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("NUNCIO_TOOLS", REPOSITORY / "build" / "tools"))
PREFIX = "nt-"
RTF_LOCAL = 0x80000000  # linux/ipv6_route.h

_serial = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def obstacle():
    """Why namespaces cannot be used here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "nft", "unshare"):
        if not shutil.which(tool):
            return f"needs the command '{tool}'"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, text=True)
    return f"no network namespaces with nftables: {probe.stderr.strip()}" if probe.returncode else None


def sweep():
    """Deletes the namespaces of test runs that were killed before they could."""
    for path in pathlib.Path("/run/netns").glob(PREFIX + "*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not pathlib.Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "del", path.name])


def _ip(lines, namespace=None):
    """Runs lines of `ip` commands, as one batch."""
    inside = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *inside, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def tcp_counter(pid, name):
    """A counter of TCP ("ActiveOpens", "RetransSegs"; RFC 4022), of the network namespace of a process."""
    lines = pathlib.Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    keys, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[keys.index(name)])


class Namespace:
    """One network namespace, and what is done inside it."""

    def __init__(self, lab, role, host=None):
        self.lab = lab
        self.role = role
        self.name = f"{PREFIX}{os.getpid()}-{next(_serial)}-{role}"
        self.host = host
        self.path = pathlib.Path("/run/netns", self.name)
        # For UDP, see hammer.c: never the same source port twice, below those that the kernel chooses.
        self.next_port = 10000

    def __str__(self):
        return self.name

    @property
    def v4(self):
        return f"10.77.0.{self.host}"

    @property
    def v6(self):
        return f"fd00:77::{self.host}"

    def command(self, *args):
        return ["ip", "netns", "exec", self.name, *map(str, args)]

    def run(self, *args, check=True, **options):
        """Runs a command inside to its end; returns its stdout."""
        done = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=scaled(60), **options)
        assert not check or done.returncode == 0, f"{' '.join(map(str, args))}: {done.stderr}"
        return done.stdout

    def popen(self, *args, **options):
        """Starts a command inside; it is killed with the lab at the latest."""
        process = subprocess.Popen(self.command(*args), **options)
        self.lab.processes.append(process)
        return process

    def ip(self, *lines):
        _ip(lines, self.name)

    def sysctl(self, key, value=None):
        """Reads, or sets, for example "net/ipv4/ip_forward"."""
        file = pathlib.Path("/proc/sys", key)
        with self.entered():
            return file.read_text().strip() if value is None else file.write_text(str(value))

    def give(self, device, *addresses):
        """Addresses for a device, with prefix lengths; the device comes up, and takes packets for them."""
        self.ip(*(f"addr add {address} dev {device}{' nodad' if ':' in address else ''}" for address in addresses),
                f"link set {device} up")
        wait_until(lambda: self._has_routes_to(addresses), what="the kernel's routes to IPv6 addresses")

    def _has_routes_to(self, addresses):
        """The kernel says yes to an IPv6 address before it makes the route that lets packets for it in."""
        with self.entered():
            routes = pathlib.Path("/proc/thread-self/net/ipv6_route").read_text().splitlines()
        local = {route.split()[0] for route in routes if int(route.split()[8], 16) & RTF_LOCAL}
        return local.issuperset(ipaddress.ip_interface(address).packed.hex() for address in addresses if ":" in address)

    def addresses(self, device="lo"):
        """The addresses of a device, as "10.96.0.10/32"."""
        listing = json.loads(self.run("ip", "-j", "addr", "show", "dev", device))
        return {f"{info['local']}/{info['prefixlen']}" for info in listing[0]["addr_info"]}

    def ruleset(self):
        return self.run("nft", "list", "ruleset")

    def table(self):
        """Our table as nft lists it, without what differs from run to run and kernel to kernel; "" for none."""
        listing = self.run("nft", "list", "table", "inet", "nuncio", check=False)
        listing = re.sub(r"packets \d+ bytes \d+", "packets 0 bytes 0", listing)
        # nft 1.0.6 prints the flag "persist" as nothing, which it cannot parse, and names the owner in a comment.
        listing = re.sub(r"^\tflags .*\n(\tcomment .*\n)\n", r"\1", listing, flags=re.MULTILINE)
        return re.sub(r"^(table inet nuncio \{).*", r"\1", listing)

    @contextlib.contextmanager
    def entered(self):
        """What the body opens (sockets, raw sockets) belongs to this namespace and stays there."""
        with open("/proc/self/ns/net") as outside, open(self.path) as inside:
            self._setns(inside)
            try:
                yield
            finally:
                self._setns(outside)

    @staticmethod
    def _setns(file):
        if _libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        """A socket of this namespace, with a timeout, closed with the lab."""
        with self.entered():
            made = self.lab.keep(socket.socket(family, kind, proto))
        made.settimeout(scaled(2))
        return made

    def serve(self, name=None, port=8080, options=(), addresses=None):
        """Starts a responder on the addresses given, or on our two, and returns when it listens."""
        addresses = addresses or [f"{self.v4}:{port}", f"[{self.v6}]:{port}"]
        responder = self.popen(TOOLS / "responder", *options, name or self.role, *addresses, stdout=subprocess.PIPE)
        assert responder.stdout.readline() == b"ready\n", f"responder on {addresses} does not listen"
        return responder

    def hammer(self, target, **options):
        """Runs the hammer to its end (count or seconds given); returns its result."""
        return self.start_hammer(target, **options).result()

    def start_hammer(self, target, **options):
        return Hammer(self, target, **options)

    def reaches(self, target, **options):
        """Does one connection to `target` succeed?"""
        return self.hammer(target, count=1, timeout=int(scaled(1000)), **options)["ok"] == 1


class Hammer:
    """A running client; see tests/tools/hammer.c. Options are its own: count=300, udp=True, concurrency=4 ..."""

    def __init__(self, namespace, target, **options):
        options.setdefault("timeout", int(scaled(5000)))
        if options.get("udp"):
            options["first-port"] = namespace.next_port
            namespace.next_port += options["count"]
        args = []
        for key, value in options.items():
            args += [f"--{key}"] if value is True else [] if value is False else [f"--{key}", str(value)]
        self.process = namespace.popen(TOOLS / "hammer", *args, target, stdout=subprocess.PIPE, text=True)
        # Before its exec, the process is an `ip` that may still be in our namespace.
        comm = pathlib.Path(f"/proc/{self.process.pid}/comm")
        wait_until(lambda: comm.read_text() == "hammer\n", what="hammer to start")

    def wait_for_more(self, count=500):
        """Returns after `count` more connections: whatever was done before has been under load."""
        goal = tcp_counter(self.process.pid, "ActiveOpens") + count
        wait_until(lambda: tcp_counter(self.process.pid, "ActiveOpens") >= goal, 20, f"{count} more connections")

    def stop(self):
        """Ends it and returns its result."""
        self.process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self):
        output, _ = self.process.communicate(timeout=scaled(120))
        return json.loads(output)


class Lab:
    """See the head of this file. close() must be called: it stops the daemons and checks how they ended."""

    def __init__(self, backends=3, client=False, second_app=False):
        self.namespaces, self.processes, self.daemons = [], [], []
        self._open = contextlib.ExitStack()
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.registry = Registry(self.path / "services.json")
        try:
            self.bridge = self._bridge()
            self.app = self.join("app", 1)
            self.app2 = self.join("app2", 2) if second_app else None
            self.backends = [self.join(f"b{i}", 10 + i) for i in range(1, backends + 1)]
            self.client = self.behind(self.app) if client else None
        except BaseException:
            self.close()
            raise

    def _namespace(self, role, host=None):
        namespace = Namespace(self, role, host)
        _ip([f"netns add {namespace}"])
        self.namespaces.append(namespace)
        # With it, link-local addresses are of no use for a second or two: until then a gateway asks for no neighbour.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", 0)
        namespace.ip("link set lo up")
        return namespace

    def _bridge(self):
        bridge = self._namespace("br")
        bridge.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up")
        return bridge

    def join(self, role, host):
        """A namespace on the bridge."""
        namespace = self._namespace(role, host)
        self.bridge.ip(
            f"link add {role} type veth peer name eth0 netns {namespace}",
            f"link set {role} master br0 up",
        )
        namespace.give("eth0", f"{namespace.v4}/24", f"{namespace.v6}/64")
        return namespace

    def behind(self, gateway, network=78):
        """A namespace whose default route goes through another one, which becomes a gateway."""
        client = self._namespace("client")
        gateway.ip(f"link add eth1 type veth peer name eth0 netns {client}")
        gateway.give("eth1", f"10.{network}.0.1/24", f"fd00:{network}::1/64")
        client.give("eth0", f"10.{network}.0.2/24", f"fd00:{network}::2/64")
        client.ip(f"route add default via 10.{network}.0.1", f"route add default via fd00:{network}::1")
        gateway.sysctl("net/ipv4/ip_forward", 1)
        gateway.sysctl("net/ipv6/conf/all/forwarding", 1)
        return client

    def keep(self, closable):
        """Closes it with the lab."""
        self._open.callback(closable.close)
        return closable

    def serve(self, port=8080, **options):
        """A responder in each backend."""
        for backend in self.backends:
            backend.serve(port=port, **options)

    def endpoints(self, weights=None, family=4, port=8080):
        """The backends as records of the registry, with ids b1, b2 ..."""
        weights = weights or [1] * len(self.backends)
        return [
            {"id": backend.role, "host": backend.v6 if family == 6 else backend.v4, "port": port, "weight": weight}
            for backend, weight in zip(self.backends, weights)
        ]

    def state(self, namespace="app"):
        """The state file of daemons that are started in a namespace; never the machine's."""
        namespace = self.app if namespace == "app" else namespace
        return self.path / f"state-{namespace.role if namespace else 'root'}.json"

    def _with_state(self, args, namespace):
        wants = args and args[0] in ("run", "check") and "--state" not in args
        return [args[0], "--state", self.state(namespace), *args[1:]] if wants else args

    def start(self, *args, namespace="app", registry=True, state=True, wait=True, prefix=()):
        """Starts `nuncio run` in app, or elsewhere, or (None) in the namespace of the test; waits for "ready"."""
        namespace = self.app if namespace == "app" else namespace
        number = len(self.daemons) + 1
        control = self.path / f"control-{number}.sock"
        args = ["run", *(["--registry", self.registry.uri] if registry else []), *args, "--control", control]
        argv = [*prefix, *command(*(self._with_state(args, namespace) if state else args))]
        daemon = Daemon(namespace.command(*argv) if namespace else argv, control, self.path / f"log-{number}")
        self.daemons.append(daemon)
        if wait:
            daemon.wait_for_log(r"\bready\b", timeout=30)
        return daemon

    def nuncio(self, *args, namespace="app", prefix=()):
        """Runs a nuncio command to its end in app, or elsewhere, or (None) in the namespace of the test."""
        namespace = self.app if namespace == "app" else namespace
        argv = [*prefix, *command(*self._with_state(args, namespace))]
        argv = namespace.command(*argv) if namespace else argv
        done = subprocess.run(argv, capture_output=True, text=True, timeout=scaled(20))
        check_clean(done.stderr)
        return done

    def monitor(self, namespace=None):
        return Monitor(namespace or self.app, self.path / f"monitor-{next(_serial)}")

    def close(self):
        """Stops everything and deletes it; then fails where a daemon did not end as it should."""
        complaints = []
        for daemon in self.daemons:
            try:
                daemon.stop()
            except AssertionError as complaint:
                complaints.append(str(complaint))
            print(f"--- {daemon.log_path.name}: {' '.join(daemon.argv)}\n{daemon.log()}")
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self._open.close()
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace.name])
        shutil.rmtree(self.path)
        assert not complaints, "\n".join(complaints)


class Monitor:
    """`nft monitor` in a namespace: what was sent to the kernel, by whomever, while the body of the `with` ran.

    Tables of our own mark where the capture begins and ends, so that nothing is waited for by the clock.
    """

    def __init__(self, namespace, path):
        self.namespace = namespace
        self.path = path
        self.lines = []

    def __enter__(self):
        with open(self.path, "w") as output:
            # Without -n the monitor would ask resolvers and services for names.
            self.process = self.namespace.popen("nft", "-nn", "monitor", stdout=output)
        # The first marks come before it listens.
        wait_until(lambda: self._mark("begin"), 10, "nft monitor to listen")
        return self

    def __exit__(self, *exception):
        wait_until(lambda: self._mark("end"), 10, "nft monitor to catch up")
        self.process.terminate()
        self.process.wait()
        if not exception[0]:
            self.lines = self._between_marks()

    def _mark(self, word):
        assert self.process.poll() is None, f"nft monitor ended: {self.path.read_text()[-2000:]}"
        self.namespace.run("nft", f"add table ip mark_{word}; delete table ip mark_{word}")
        with contextlib.suppress(AssertionError):
            return wait_until(lambda: f"delete table ip mark_{word}" in self.path.read_text(), 0.1)

    def _between_marks(self):
        text = self.path.read_text()
        begin = text.rindex("delete table ip mark_begin")
        end = text.index("add table ip mark_end")
        return [
            line
            for line in text[begin:end].splitlines()[1:]
            if line and not line.startswith("# new generation") and "table ip mark_" not in line
        ]

    def changes(self):
        """All lines but those of the table itself, which appear when a process takes ownership."""
        return [line for line in self.lines if not re.match(r"(add|delete|create) table inet nuncio\b", line)]
