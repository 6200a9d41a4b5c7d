# SPDX-License-Identifier: GPL-2.0-or-later
"""What conntrack remembers in a namespace, by the tool of that name."""

import re
import socket
import struct

from waiting import wait_until


class Flow:
    """One entry, as `conntrack -L` prints it."""

    def __init__(self, line):
        self.line = line
        fields = re.findall(r"\b(src|dst|sport|dport)=(\S+)", line)
        self.original, self.reply = dict(fields[:4]), dict(fields[4:8])
        self.replied = "[UNREPLIED]" not in line
        self.protocol = line.split()[0]

    @property
    def endpoint(self):
        return self.reply["src"]

    def __repr__(self):
        return self.line


def flows(namespace, protocol="tcp", port=None, family=4):
    """The flows that ask for `port`."""
    family = ["-f", "ipv6"] if family == 6 else []
    listing = namespace.run("conntrack", "-L", "-p", protocol, *family)
    found = [Flow(line) for line in listing.splitlines() if "src=" in line]
    return [flow for flow in found if port is None or flow.original["dport"] == str(port)]


class Ends:
    """The flows that are taken out of conntrack, or end by themselves, while the body of the `with` runs."""

    def __init__(self, namespace, path):
        self.namespace = namespace
        self.path = path

    def __enter__(self):
        with open(self.path, "w") as output:
            self.process = self.namespace.popen("conntrack", "-E", "-e", "DESTROY", "-o", "id", stdout=output)
        wait_until(lambda: self._mark(1), 10, "conntrack -E to listen")
        return self

    def __exit__(self, *exception):
        wait_until(lambda: self._mark(2), 10, "conntrack -E to catch up")
        self.process.terminate()
        self.process.wait()
        self.lines = [line for line in self.path.read_text().splitlines() if "dport=9 " not in line]

    def _mark(self, number):
        """A flow of our own, made and deleted: what happened before it has been seen."""
        tuple_ = ["-s", f"192.0.2.{number}", "-d", "192.0.2.9", "-p", "udp", "--sport", "9", "--dport", "9"]
        self.namespace.run("conntrack", "-I", *tuple_, "-t", "100")
        self.namespace.run("conntrack", "-D", *tuple_)
        return f"192.0.2.{number} " in self.path.read_text()


def _attribute(kind, *parts):
    body = b"".join(parts)
    nested = 0x8000 if kind & 0x8000 else 0
    padding = b"\0" * (-len(body) % 4)
    return struct.pack("=HH", 4 + len(body), kind & 0x7FFF | nested) + body + padding


def set_timeout(namespace, flow, seconds):
    """Lets an entry live that long, whatever happens; `conntrack -U` cannot do that where NAT is in play."""
    nested = 0x8000
    family = socket.AF_INET6 if ":" in flow.original["src"] else socket.AF_INET
    source, destination = (socket.inet_pton(family, flow.original[key]) for key in ("src", "dst"))
    protocol = {"tcp": 6, "udp": 17}[flow.protocol]
    first = 1 if family == socket.AF_INET else 3  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
    attributes = _attribute(
        1 | nested,  # CTA_TUPLE_ORIG
        _attribute(1 | nested, _attribute(first, source), _attribute(first + 1, destination)),
        _attribute(
            2 | nested,
            _attribute(1, bytes([protocol])),
            _attribute(2, struct.pack("!H", int(flow.original["sport"]))),
            _attribute(3, struct.pack("!H", int(flow.original["dport"]))),
        ),
    ) + _attribute(7, struct.pack("!I", seconds))  # CTA_TIMEOUT
    body = struct.pack("=BBH", family, 0, 0) + attributes
    with namespace.entered():
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    with netlink:
        # IPCTNL_MSG_CT_NEW of NFNL_SUBSYS_CTNETLINK; NLM_F_REQUEST | NLM_F_ACK
        netlink.send(struct.pack("=IHHII", 16 + len(body), 1 << 8, 5, 1, 0) + body)
        [code] = struct.unpack_from("=i", netlink.recv(4096), 16)
    assert code == 0, f"{flow}: {code}"
