# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of its own: Debian with systemd as its first process, in systemd-nspawn, without any network but its own."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from waiting import scaled, wait_until

# What the package depends on, and what the tests use.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "iproute2", "nftables", "procps", "python3-minimal", "ca-certificates",
    "libc-ares2", "libcjson1", "libcurl4", "libmicrohttpd12", "libmnl0", "libnftnl11", "libuv1", "libcap-ng0", "libseccomp2",
)


def obstacle():
    """Why there can be none here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("debootstrap", "systemd-nspawn", "nsenter"):
        if not shutil.which(tool):
            return f"needs the command '{tool}'"
    return None


def make_root(path):
    """Fills a directory with such a system. Takes a minute, and packages from Debian's mirror."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", part],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    # They would only be in the way.
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "systemd-resolved.service"):
        (part / "etc/systemd/system" / unit).symlink_to("/dev/null")
    part.rename(path)


class Machine:
    """Boots a copy of a root; close() must be called."""

    def __init__(self, base, binds=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="nt-machine-"))
        self.console = self.root.with_name(self.root.name + ".log")
        subprocess.run(["cp", "-a", f"{base}/.", self.root], check=True)
        self.root.chmod(0o755)
        self.write("/etc/hosts", "127.0.0.1 localhost\n")
        with open(self.console, "w") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.root, "--private-network", "--register=no", "--keep-unit",
                 "--console=pipe", *(f"--bind-ro={bind}" for bind in binds), "-b"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        try:
            self.leader = wait_until(self._find_leader, 20, "the machine to start")
            wait_until(self._is_up, 60, lambda: f"the machine to boot:\n{self.console.read_text()[-3000:]}")
        except BaseException:
            self.close()
            raise

    def _find_leader(self):
        """The process that is number 1 in there."""
        assert self.process.poll() is None, self.console.read_text()[-3000:]
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        for pid in found.stdout.split():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # a helper of nspawn's that has ended since
            if any(line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2
                   for line in status.splitlines()):
                return pid
        return None

    def _is_up(self):
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    def command(self, *args):
        return ["nsenter", "--target", self.leader, "--all", "--wd=/", "--", *map(str, args)]

    def run(self, *args, check=True, **options):
        """Runs a command in it to its end; returns its stdout."""
        done = self.attempt(*args, **options)
        assert not check or done.returncode == 0, f"{' '.join(map(str, args))}: {done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, *args, **options):
        return subprocess.run(self.command(*args), capture_output=True, text=True, timeout=scaled(120), **options)

    def popen(self, *args, **options):
        return subprocess.Popen(self.command(*args), **options)

    def write(self, path, text):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def show(self, unit, key):
        """A property of a unit."""
        return self.run("systemctl", "show", "-P", key, unit).strip()

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "-u", unit, check=False)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()  # nspawn passes it on as a request to power off
            try:
                self.process.wait(scaled(20))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
        self.console.unlink(missing_ok=True)
