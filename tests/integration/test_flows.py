# SPDX-License-Identifier: GPL-2.0-or-later
"""What an update means for connections that are there: the unanswered, the established, and what is shown of them."""

import contextlib
import signal
import socket

import pytest

from conntrack import Ends, flows, set_timeout
from waiting import scaled, wait_until

WAYS = [
    pytest.param("9000=web", ("127.0.0.1", 9000), 4, False, id="loopback"),
    pytest.param("10.96.0.10:80=web", ("10.96.0.10", 80), 4, False, id="vip"),
    pytest.param("[fd00:aa::1]:80=web", ("fd00:aa::1", 80), 6, False, id="ipv6"),
    pytest.param("10.96.0.10:80=web", ("10.96.0.10", 80), 4, True, id="gateway"),
    pytest.param("[fd00:aa::1]:80=web", ("fd00:aa::1", 80), 6, True, id="gateway-ipv6"),
]


def records(lab, names, family=4, weights=None):
    """The registry with these backends, perhaps with weights by name."""
    weights = weights or {}
    return {
        "web": [
            {**record, "weight": weights.get(record["id"], 1)}
            for record in lab.endpoints(family=family)
            if record["id"] in names
        ]
    }


def client_of(lab, gateway):
    return lab.client if gateway else lab.app


def make_black_hole(backend):
    """SYNs to its service get no answer."""
    backend.run("nft", "table inet hole { chain c { type filter hook input priority 0; tcp dport 8080 drop; }; }")


def begin_to_connect(namespace, target):
    """A socket whose connect() hangs."""
    made = namespace.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    made.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        made.connect(target)
    made.settimeout(scaled(20))
    return made


def keep_unanswered(lab, port, family=4, count=1):
    """The SYNs are in conntrack, and would stay there long: only a deletion ends that."""

    def unanswered():
        return [flow for flow in flows(lab.app, port=port, family=family) if not flow.replied]

    found = wait_until(lambda: len(unanswered()) == count and unanswered(), what="the SYN in conntrack")
    for flow in found:
        set_timeout(lab.app, flow, 600)
    return found


def ask(connection):
    """Who answers over this connection, which is then at its end."""
    answer = connection.recv(100).decode().split()
    return answer[0] if answer else ""


@pytest.mark.lab(client=True)
@pytest.mark.parametrize("link, target, family, gateway", WAYS)
@pytest.mark.parametrize("change", ["removed", "weight-0", "standby"])
def test_an_unanswered_connect_finds_another_endpoint(lab, link, target, family, gateway, change):
    """Its endpoint leaves the rotation: the next SYN is balanced anew, and connect() succeeds."""
    lab.serve()
    make_black_hole(lab.backends[0])
    lab.registry.write(records(lab, ["b1"], family))
    lab.start("--link", link)
    hanging = begin_to_connect(client_of(lab, gateway), target)
    [flow] = keep_unanswered(lab, target[1], family)
    after = {
        "removed": records(lab, ["b2"], family),
        "weight-0": records(lab, ["b1", "b2"], family, {"b1": 0}),
        "standby": records(lab, ["b1", "b2"], family),
    }[change]
    if change == "standby":
        after["web"][0]["priority"] = 1
    lab.registry.write(after)
    wait_until(
        lambda: flow.endpoint not in [now.endpoint for now in flows(lab.app, port=target[1], family=family)],
        what="the flow to go",
    )
    assert ask(hanging) == "b2"


def test_other_unanswered_connects_are_left_alone(lab):
    """Those of another link to the same endpoint, and those of the link to another endpoint."""
    lab.serve()
    for backend in lab.backends[:2]:
        make_black_hole(backend)
    lab.registry.write({**records(lab, ["b1", "b2"]), "other": records(lab, ["b1"])["web"]})
    lab.start("--link", "9000=web", "--link", "9001=other")
    hanging = [begin_to_connect(lab.app, ("127.0.0.1", port)) for port in (9000, 9000, 9001)]
    keep_unanswered(lab, 9000, count=2)
    keep_unanswered(lab, 9001)
    with Ends(lab.app, lab.path / "ends") as ends:
        lab.registry.write({**records(lab, ["b2"]), "other": records(lab, ["b1"])["web"]})
        wait_until(lambda: {flow.endpoint for flow in flows(lab.app, port=9000)} == {lab.backends[1].v4})
    assert not [line for line in ends.lines if f"dport=9001 " in line or f"src={lab.backends[1].v4} " in line]
    assert hanging


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_leaves_good_flows_alone(web, end):
    """UDP and TCP, answered or not: none that leads to an endpoint of its link is touched."""
    make_black_hole(web.backends[2])
    daemon = web.start("--link", "9000=web", "--link", "9000/udp=web")
    held = [begin_to_connect(web.app, ("127.0.0.1", 9000)) for _ in range(3)]
    datagrams = [web.app.socket(kind=socket.SOCK_DGRAM) for _ in range(3)]
    for datagram in datagrams:
        datagram.connect(("127.0.0.1", 9000))
        datagram.send(b"?")
        datagram.recv(100)
    keep_unanswered(web, 9000)
    with Ends(web.app, web.path / "ends") as ends:
        daemon.kill(end)
        daemon.wait()
        web.start("--link", "9000=web", "--link", "9000/udp=web").status()
    assert ends.lines == [] and held


def test_what_a_crash_left_undone_is_done_at_the_next_start(lab):
    """The kernel has the new rules and the old flows, as after a crash between a commit and its clean-up."""
    lab.serve()
    for backend in lab.backends:
        make_black_hole(backend)
    lab.registry.write(records(lab, ["b1"]))
    daemon = lab.start("--link", "9000=web", "--link", "9000/udp=web")
    daemon.kill()
    lab.nuncio("run", "--once", "--registry", lab.registry.uri, "--link", "9000=web", "--link", "9000/udp=web")
    for protocol in ("tcp", "udp"):
        lab.app.run(
            "conntrack", "-I", "-p", protocol, "-s", "127.0.0.1", "-d", "127.0.0.1", "--sport", "1234", "--dport", "9000",
            "-r", lab.backends[1].v4, "-q", lab.app.v4, "--reply-port-src", "8080", "--reply-port-dst", "1234",
            "-t", "600", *(["--state", "SYN_SENT"] if protocol == "tcp" else []),
        )  # fmt: skip
        assert [flow.endpoint for flow in flows(lab.app, protocol, 9000)] == [lab.backends[1].v4]
    lab.start("--link", "9000=web", "--link", "9000/udp=web")
    for protocol in ("tcp", "udp"):
        wait_until(lambda: flows(lab.app, protocol, 9000) == [])
