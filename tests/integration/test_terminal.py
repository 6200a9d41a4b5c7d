# SPDX-License-Identifier: GPL-2.0-or-later
"""What people see on a terminal: status, with its colours and widths, and status --watch on the whole screen."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import pytest

from daemon import command
from waiting import scaled, wait_until

ENTER, LEAVE = "\033[?1049h", "\033[?1049l"
RED, GREEN = "\033[1;31m", "\033[32m"


class Terminal:
    """A command on a terminal of its own, and what it wrote there."""

    def __init__(self, *args, columns=100, rows=30, **environment):
        self.fd, inner = pty.openpty()
        self.output = ""
        self.resize(columns, rows)
        clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
        self.process = subprocess.Popen(command(*args), stdin=inner, stdout=inner, stderr=inner, close_fds=True,
                                        start_new_session=True, env={**clean, "TERM": "xterm", **environment},
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.kept = inner  # so that its settings can be looked at after the command

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, timeout=0.05):
        """Takes what is there."""
        while select.select([self.fd], [], [], timeout)[0]:
            self.output += os.read(self.fd, 65536).decode()
        return True

    def wait_for(self, pattern, since=0):
        def found():
            self.read()
            return re.search(pattern, self.output[since:], re.DOTALL)
        return wait_until(found, 10, lambda: f"{pattern!r} on the terminal: {self.output[-2000:]!r}")

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def to_end(self):
        wait_until(lambda: self.read() and self.process.poll() is not None, 10, "its end")
        self.read()
        return self.process.returncode

    def screen(self):
        """The last picture, as text."""
        picture = self.output.rpartition("\033[H")[2]
        return re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", picture.replace("\r", ""))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
        os.close(self.kept)


@pytest.fixture
def terminal():
    made = []

    def make(*args, **options):
        made.append(Terminal(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def mixed(web):
    """One link that serves, and one that is empty."""
    return web.start("--link", "9000=web,name=front", "--link", "9001=void")


def test_summary_and_the_worst_first(mixed, terminal):
    shown = terminal("status", "--control", mixed.control)
    assert shown.to_end() == 0
    lines = shown.output.splitlines()
    plain = re.sub(r"\033\[[0-9;]*m", "", shown.output)
    assert plain.splitlines()[0] == "2 links: 1 serving, 1 empty; 3 endpoints: 3 up"
    assert plain.index("void") < plain.index("front")
    assert f"{GREEN}serving" in shown.output and f"{RED}empty" in shown.output
    assert any(re.search(r"b1 .*33 %", line) for line in lines)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_colour_where_nobody_wants_any(mixed, terminal, environment):
    shown = terminal("status", "--control", mixed.control, **environment)
    assert shown.to_end() == 0
    assert "front" in shown.output and "\033" not in shown.output


def test_long_reasons_go_on_in_the_next_line(web, terminal):
    web.registry.write({"web": [{"id": "b1", "host": "10.77.0.11", "port": 8080}, "[fd00::1]:80"]})
    daemon = web.start("--link", "9000=web")
    shown = terminal("status", "--control", daemon.control, columns=80, NO_COLOR="1")
    assert shown.to_end() == 0
    table = shown.output[:shown.output.index("registry ")].splitlines()
    assert max(len(line) for line in table) <= 80
    assert "NAT cannot cross from IPv4 to IPv6 or back" in re.sub(r"\s+", " ", " ".join(table))
    assert "NAT cannot cross" in daemon.ask("status")
    assert any(len(line) > 80 for line in daemon.ask("status").splitlines())


def test_watch(web, terminal):
    daemon = web.start("--link", "9000=web")
    watch = terminal("status", "--watch", "--interval", "100ms", "--control", daemon.control)
    watch.wait_for(r"\033\[H.*1 serving.*/S")
    assert watch.output.startswith(ENTER)
    hammer = web.app.start_hammer("127.0.0.1:9000", seconds=int(scaled(20)), rate=100)
    watch.wait_for(r"b1[^\n]*(?:[1-9]\d*\.\d|0\.[1-9])  +\d+")
    hammer.process.terminate()
    assert "b1" in watch.screen() and "q ends" in watch.screen()
    # A change is seen.
    web.registry.write({"web": [{"id": "b9", "host": "10.77.0.11", "port": 8080}]})
    watch.wait_for("b9")
    # Another size: what does not fit is counted.
    at = len(watch.output)
    watch.resize(100, 4)
    watch.wait_for(r"\(\d+ more lines\)", at)
    watch.press("q")
    assert watch.to_end() == 0
    assert watch.output.endswith(LEAVE) and "\033[?25h" in watch.output and "\033[?7h" in watch.output


def test_watch_goes_on_when_nuncio_went_away(web, terminal):
    control = web.path / "control.sock"
    daemon = web.start("--link", "9000=web")
    control.symlink_to(daemon.control)
    watch = terminal("status", "--watch", "--interval", "100ms", "--control", control)
    watch.wait_for("1 serving")
    daemon.stop()
    watch.wait_for("no nuncio answers.*trying again.*1 serving")
    control.unlink()
    control.symlink_to(web.start("--link", "9000=web").control)
    wait_until(lambda: watch.read() and "serving" in watch.screen() and "trying again" not in watch.screen(), 10,
               "the next nuncio's status")
    watch.process.send_signal(signal.SIGINT)
    assert watch.to_end() == 0
    assert watch.output.endswith(LEAVE)


def test_ctrl_c_leaves_and_the_terminal_is_as_it_was(web, terminal):
    daemon = web.start("--link", "9000=web")
    watch = terminal("status", "-w", "--control", daemon.control)
    watch.wait_for("1 serving")
    assert not termios.tcgetattr(watch.fd)[3] & termios.ECHO
    watch.press("\x03")
    assert watch.to_end() == 0
    assert watch.output.endswith(LEAVE)
    assert termios.tcgetattr(watch.kept)[3] & termios.ECHO


def test_watch_needs_a_terminal(web):
    daemon = web.start("--link", "9000=web")
    done = subprocess.run(command("status", "--watch", "--control", daemon.control), capture_output=True, text=True)
    assert done.returncode == 2 and "needs a terminal" in done.stderr
    done = subprocess.run(command("status", "-w", "--interval", "1"), capture_output=True, text=True)
    assert done.returncode == 2 and "--interval 1" in done.stderr
