# SPDX-License-Identifier: GPL-2.0-or-later
"""nuncio under test: its command line, a running daemon, its registry file."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess

from waiting import SCALE, scaled, wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NUNCIO = os.path.abspath(os.environ.get("NUNCIO", REPOSITORY / "build" / "nuncio"))
LOADED = pathlib.Path(NUNCIO).parent / "loaded.so"  # linked with the libraries that nuncio loads
WRAPPER = shlex.split(os.environ.get("NUNCIO_WRAPPER", ""))

# What a sanitizer or valgrind writes when it found something.
_FINDINGS = re.compile(r"ERROR: AddressSanitizer|LeakSanitizer|runtime error:|ERROR SUMMARY: [1-9]")


def command(*args):
    """The argument vector of a nuncio command."""
    return [*WRAPPER, NUNCIO, *map(str, args)]


def check_clean(stderr):
    found = _FINDINGS.search(stderr)
    assert not found, f"a memory checker found something: {stderr[found.start():][:2000]}"


class Daemon:
    """A running `nuncio run`. Its stderr goes to a file, and stop() judges how it ended."""

    def __init__(self, argv, control, log_path):
        self.argv = argv
        self.control = control
        self.log_path = log_path
        with open(log_path, "w") as log:
            self.process = subprocess.Popen(argv, stderr=log, stdout=log)

    @property
    def pid(self):
        return self.process.pid

    def log(self, since=0):
        return self.log_path.read_text()[since:]

    def wait_for_log(self, pattern, since=0, timeout=15):
        """Waits for a line that matches; returns the match."""
        return wait_until(
            lambda: self._found(pattern, since),
            timeout,
            lambda: f"'{pattern}' in the log:\n{self.log(since)}",
        )

    def _found(self, pattern, since):
        found = re.search(pattern, self.log(since), re.MULTILINE)
        assert found or self.process.poll() is None, f"nuncio ended with {self.process.returncode}:\n{self.log()}"
        return found

    @contextlib.contextmanager
    def logs(self, *patterns):
        """The body makes the daemon log lines that match each of the patterns."""
        since = len(self.log())
        yield
        for pattern in patterns:
            self.wait_for_log(pattern, since)

    def status(self):
        """`nuncio status --json`, parsed."""
        return json.loads(self.ask("status", "--json"))

    def ask(self, *args):
        """Runs a command that talks to this daemon; returns its stdout."""
        done = subprocess.run(
            command(*args, "--control", self.control), capture_output=True, text=True, timeout=scaled(20)
        )
        check_clean(done.stderr)
        assert done.returncode == 0, f"nuncio {' '.join(args)} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def links(self, ambassador=0):
        """The links of an ambassador in status, by name."""
        return {link["name"]: link for link in self.status()["ambassadors"][ambassador]["links"]}

    def endpoints(self, link, ambassador=0):
        """The endpoints of a link in status, by id."""
        return {endpoint["id"]: endpoint for endpoint in self.links(ambassador)[link]["endpoints"]}

    def memory_kib(self):
        """Resident set."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))

    def kill(self, number=signal.SIGKILL):
        """Sends a signal; after SIGKILL, waits for the end."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def wait(self, timeout=15):
        """Waits for the process to end by itself; returns its exit code."""
        code = self.process.wait(scaled(timeout))
        check_clean(self.log())
        return code

    def stop(self):
        """Ends it with SIGTERM where it still runs; it must end with 0, and no memory checker may have complained."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                assert self.wait() == 0, f"nuncio ended with {self.process.returncode} on SIGTERM:\n{self.log()}"
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"nuncio did not end on SIGTERM:\n{self.log()}") from None
        check_clean(self.log())


class Registry:
    """A registry file."""

    def __init__(self, path):
        self.path = path
        self.uri = f"file:{path}"

    def write(self, content, in_place=False):
        """Replaces the file by rename, or overwrites it in place; content is text, or data for JSON."""
        text = content if isinstance(content, str) else json.dumps(content)
        target = self.path if in_place else self.path.with_name(f".{self.path.name}.new")
        target.write_text(text)
        if not in_place:
            target.rename(self.path)


# How much slower the binary under test may be than a plain build.
PLAIN = not WRAPPER and SCALE == 1
