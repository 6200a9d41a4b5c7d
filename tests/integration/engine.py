# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Docker engine in a network namespace of its own, where its iptables rules stay; and its containers."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from daemon import LOADED, NUNCIO
from lab import PREFIX, TOOLS, Hammer
from waiting import scaled, wait_until

BUSYBOX = "/bin/busybox"

# Whether containers outlive their engine.
LIVE_RESTORE = os.environ.get("ENGINE_LIVE_RESTORE", "1") != "0"


def obstacle():
    """Why there can be no engine here, or None."""
    for tool in ("dockerd", "docker", "containerd", "runc"):
        if not shutil.which(tool):
            return f"needs {tool} (scripts/install-deps test)"
    linked = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True)
    return None if "not a dynamic" in linked.stderr + linked.stdout else f"needs a static {BUSYBOX}"


def _libraries(program):
    """What it is linked with, and what nuncio loads besides."""
    also = [LOADED] if program == NUNCIO else []
    listing = subprocess.run(["ldd", program, *also], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def make_root(path):
    """A root file system: busybox, the test tools, and nuncio with its libraries."""
    programs = {"bin/busybox": BUSYBOX, "bin/responder": TOOLS / "responder", "bin/hammer": TOOLS / "hammer"}
    programs["bin/nuncio"] = NUNCIO
    for name, source in programs.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        for library in [] if name == "bin/busybox" else _libraries(source):
            copy = path / library.lstrip("/")
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copy)
    for name in ("sh", "sleep", "test", "touch", "rm"):
        (path / "bin" / name).symlink_to("busybox")
    for name in ("tmp", "run"):
        (path / name).mkdir()


class Engine:
    """dockerd; close() must be called. Containers are called by the names that they are started with."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.socket = self.path / "docker.sock"
        self.uri = f"docker://{self.socket}"
        self.netns = f"{PREFIX}{os.getpid()}-docker"
        self.process = None
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        try:
            self.start()
            self._make_image()
        except BaseException:
            self.close()
            raise

    def start(self):
        # Not `ip netns exec`: that hides /sys/fs/cgroup.
        argv = ["nsenter", f"--net=/run/netns/{self.netns}", "dockerd", "-H", f"unix://{self.socket}"]
        argv += ["--data-root", self.path / "data", "--exec-root", self.path / "exec"]
        argv += ["--pidfile", self.path / "pid"]
        argv += ["--live-restore"] if LIVE_RESTORE else []
        with open(self.path / "log", "a") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(self._answers, 30, lambda: f"dockerd: {(self.path / 'log').read_text()[-2000:]}")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(scaled(30))

    def _answers(self):
        assert self.process.poll() is None, f"dockerd ended: {(self.path / 'log').read_text()[-2000:]}"
        connection = http.client.HTTPConnection("docker", timeout=scaled(5))
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _make_image(self):
        root = self.path / "root"
        make_root(root)
        archive = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
        self.docker("import", "-", "test", input=archive)

    def docker(self, *args, check=True, **options):
        """Runs a docker command; returns its stdout."""
        argv = ["docker", "-H", f"unix://{self.socket}", *map(str, args)]
        options = {"text": True, **options} if "input" not in options else options
        done = subprocess.run(argv, capture_output=True, timeout=scaled(60), **options)
        assert not check or done.returncode == 0, f"docker {' '.join(map(str, args))}: {done.stderr}"
        return done.stdout

    def run(self, name, *command, labels=(), options=()):
        """Starts a container; the command defaults to one that does nothing for long."""
        args = [word for label in labels for word in ("--label", label)]
        self.docker("run", "-d", "--name", name, *args, *options, "test", *(command or ("/bin/sleep", "100000")))
        return Container(self, name)

    def serve(self, name, labels=(), options=()):
        """A container with a responder on port 8080."""
        return self.run(name, "/bin/responder", name, "0.0.0.0:8080", labels=labels, options=options)

    def remove_all(self):
        names = self.docker("ps", "-aq").split()
        if names:
            self.docker("rm", "-f", *names)

    def close(self):
        if self.process and self.process.poll() is None:
            self.remove_all()
            self.stop()
        self._kill_leftovers()
        for line in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.path}/"):
                subprocess.run(["umount", "-l", line.split()[1]])
        subprocess.run(["ip", "netns", "del", self.netns])
        shutil.rmtree(self.path, ignore_errors=True)

    def _kill_leftovers(self):
        """With live-restore, containers and what looks after them outlive a dockerd that failed."""
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.path).encode() in (process / "cmdline").read_bytes():
                    for child in (process / "task" / process.name / "children").read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                    os.kill(int(process.name), signal.SIGKILL)


class Container:
    """A container of the engine; enough of a namespace for a Hammer."""

    def __init__(self, engine, name):
        self.engine = engine
        self.name = name

    def inspect(self):
        return json.loads(self.engine.docker("inspect", self.name))[0]

    @property
    def pid(self):
        return self.inspect()["State"]["Pid"]

    @property
    def address(self):
        return self.inspect()["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]

    def command(self, *args):
        return ["nsenter", "-t", str(self.pid), "-n", *map(str, args)]

    def popen(self, *args, **options):
        return subprocess.Popen(self.command(*args), **options)

    def hammer(self, target="127.0.0.1:9000", **options):
        return Hammer(self, target, **options).result()

    def start_hammer(self, target="127.0.0.1:9000", **options):
        return Hammer(self, target, **options)

    def table(self):
        """What `nft` lists of our table there; "" where it has none."""
        argv = self.command("nft", "list", "table", "inet", "nuncio")
        return subprocess.run(argv, capture_output=True, text=True).stdout

    def links(self):
        """The links that the kernel has in its namespace: {"9000": "web"}."""
        return dict(re.findall(r'127\.0\.0\.1 \. (\d+) comment "([^"]+)" : goto', self.table()))
