# SPDX-License-Identifier: GPL-2.0-or-later
"""A real DNS server in a namespace of the laboratory: dnsmasq, 10.77.0.21 on its bridge (a second one 10.77.0.22)."""

import shutil
import socket
import struct
import threading

from waiting import scaled, wait_until


def obstacle():
    """Why DNS cannot be tested here, or None."""
    if not shutil.which("dnsmasq"):
        return "needs dnsmasq (scripts/install-deps test)"
    return None


def srv(name, target, port, priority=0, weight=0):
    """A line of its configuration."""
    return f"srv-host={name},{target},{port},{priority},{weight}"


def host(name, *addresses):
    return f"host-record={name},{','.join(addresses)}"


def question(name, type):
    return struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + _name(name) + struct.pack("!2H", type, 1)


class Server:
    """One dnsmasq; it has authority over the domain "test", and refuses the rest."""

    def __init__(self, lab, number=1, ttl=0):
        self.lab = lab
        self.ttl = ttl
        self.namespace = lab.join(f"dns{number}", 20 + number)
        self.config = lab.path / f"dnsmasq-{number}.conf"
        self.log_path = lab.path / f"dnsmasq-{number}.log"
        self.process = None
        self.lines = []

    @property
    def uri(self):
        return f"dns://{self.namespace.v4}/"

    def start(self, *lines, authority=True):
        """Starts it with these records, or again with others."""
        if self.process and self.process.poll() is None:
            self.stop()
        self.lines = lines or self.lines
        self.config.write_text("\n".join([
            "keep-in-foreground", "no-resolv", "no-hosts", "no-poll", "user=root", "pid-file", "bind-interfaces",
            "log-queries", f"log-facility={self.log_path}", f"local-ttl={self.ttl}",
            f"listen-address={self.namespace.v4}", *(["local=/test/"] if authority else []), *self.lines, "",
        ]))
        self.process = self.namespace.popen("dnsmasq", f"--conf-file={self.config}")
        wait_until(self.answers, 10, "dnsmasq to answer")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def answers(self):
        assert self.process.poll() is None, f"dnsmasq ended: {self.config.read_text()}"
        try:
            return self.ask("probe.test", 1)
        except OSError:
            return False

    def ask(self, name, type):
        """The answer's bytes, over UDP and without EDNS0."""
        with self.namespace.entered():
            probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with probe:
            probe.settimeout(scaled(0.2))
            probe.connect((self.namespace.v4, 53))
            probe.send(question(name, type))
            return probe.recv(65535)

    def queries(self, name, type="SRV"):
        """How often it was asked for that."""
        if not self.log_path.exists():
            return 0
        return self.log_path.read_text().count(f"query[{type}] {name} ")


class Script:
    """A server that says to every question, over UDP, what the test wants: `answer` makes the bytes, None is silence."""

    def __init__(self, lab, answer):
        self.answer = answer
        self.heard = 0
        self.namespace = lab.join("script", 30)
        with self.namespace.entered():
            self.socket = lab.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.bind((self.namespace.v4, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def uri(self):
        return f"dns://{self.namespace.v4}/"

    def _serve(self):
        while True:
            try:
                asked, peer = self.socket.recvfrom(65535)
                answer = self.answer(asked)
                if answer:
                    self.socket.sendto(answer, peer)
                self.heard += 1
            except OSError:
                return


def reply(asked, rcode=0, answers=(), additional=()):
    """The answer to a question; records are (name, type, ttl, data)."""
    end = asked.index(b"\0", 12) + 5  # no pointers in questions
    head = asked[:2] + struct.pack("!5H", 0x8180 | rcode, 1, len(answers), 0, len(additional))
    return head + asked[12:end] + b"".join(_record(*record) for record in [*answers, *additional])


def _name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def _record(name, type, ttl, data):
    return _name(name) + struct.pack("!2HIH", type, 1, ttl, len(data)) + data


def srv_data(target, port, priority=0, weight=0):
    return struct.pack("!3H", priority, weight, port) + _name(target)


A, SRV = 1, 33
SERVFAIL, REFUSED = 2, 5
