# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP flows leave an endpoint that goes, whatever the client does: conntrack is part of every change."""

import contextlib
import signal
import socket

import pytest

from conntrack import flows
from waiting import readable, scaled, wait_until

WAYS = [
    pytest.param("9000/udp=web", ("127.0.0.1", 9000), 4, id="loopback"),
    pytest.param("10.96.0.10:53/udp=web", ("10.96.0.10", 53), 4, id="vip"),
    pytest.param("[fd00:aa::1]:53/udp=web", ("fd00:aa::1", 53), 6, id="ipv6"),
]


class Client:
    """One UDP socket that lives on: one flow in conntrack."""

    def __init__(self, namespace, target):
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = namespace.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(target)

    def ask(self, seconds=5):
        """The name of the endpoint that answers, "refused", or None where nobody answers in that time."""
        self.socket.settimeout(scaled(seconds))
        self._drain()
        try:
            # A rule that rejects makes send() fail; what the ICMP error said is what recv() then says.
            with contextlib.suppress(PermissionError):
                self.socket.send(b"?")
            return self.socket.recv(100).decode().strip()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return None

    def _drain(self):
        """Forgets answers that came too late, and errors."""
        while readable(self.socket):
            with contextlib.suppress(ConnectionRefusedError):
                self.socket.recv(100)


def without(lab, names, family):
    return {"web": [record for record in lab.endpoints(family=family) if record["id"] not in names]}


def answer_other_than(client, name):
    answer = client.ask()
    return answer if answer != name else None


@pytest.mark.parametrize("link, target, family", WAYS)
def test_a_flow_moves_to_a_live_endpoint(lab, link, target, family):
    lab.serve()
    lab.registry.write(without(lab, [], family))
    daemon = lab.start("--link", link)
    client = Client(lab.app, target)
    first = client.ask()
    assert [client.ask() for _ in range(5)] == [first] * 5
    with daemon.logs(f"link web:.*-{first}"):
        lab.registry.write(without(lab, [first], family))
    second = wait_until(lambda: answer_other_than(client, first), what="an answer from another endpoint")
    assert second in {"b1", "b2", "b3"}
    assert [client.ask() for _ in range(5)] == [second] * 5


@pytest.mark.parametrize("link, target, family", WAYS)
def test_the_last_endpoint_goes_and_one_comes_back(lab, link, target, family):
    lab.serve()
    lab.registry.write(without(lab, ["b2", "b3"], family))
    daemon = lab.start("--link", link)
    client = Client(lab.app, target)
    assert client.ask() == "b1"
    with daemon.logs("link web:.*-b1"):
        lab.registry.write({"web": []})
    wait_until(lambda: client.ask() == "refused", what="an ICMP error")
    with daemon.logs(r"link web:.*\+b2"):
        lab.registry.write(without(lab, ["b1", "b3"], family))
    wait_until(lambda: client.ask() == "b2", what="an answer from the new endpoint")


def test_a_vip_is_of_use_from_the_start(lab):
    """The kernel makes the route of an IPv6 address after it has said that the address is there."""
    lab.serve()
    lab.registry.write(without(lab, ["b2", "b3"], 6))
    for _ in range(20):
        daemon = lab.start("--link", "[fd00:aa::1]:53/udp=web")
        assert Client(lab.app, ("fd00:aa::1", 53)).ask() == "b1"
        daemon.stop()
        assert lab.nuncio("cleanup").returncode == 0


def test_good_flows_are_left_alone(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000/udp=web")
    clients = [Client(lab.app, ("127.0.0.1", 9000)) for _ in range(9)]
    before = [client.ask() for client in clients]
    assert sorted(before) == sorted(["b1", "b2", "b3"] * 3)
    with daemon.logs("link web:.*-b2"):
        lab.registry.write(without(lab, ["b2"], 4))
    after = [wait_until(lambda: answer_other_than(client, "b2")) for client in clients]
    assert [a for a, b in zip(after, before) if b != "b2"] == [b for b in before if b != "b2"]


def test_flows_of_another_link_to_the_same_endpoint_are_left_alone(lab):
    """Only what the link lost is deleted: a link that still has the endpoint keeps its flow there."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()[:1], "other": lab.endpoints()})
    daemon = lab.start("--link", "9000/udp=web", "--link", "9001/udp=other")
    client = Client(lab.app, ("127.0.0.1", 9000))
    others = [Client(lab.app, ("127.0.0.1", 9001)) for _ in range(3)]
    before = [other.ask() for other in others]
    assert client.ask() == "b1" and sorted(before) == ["b1", "b2", "b3"]
    with daemon.logs("link web:.*-b1"):
        lab.registry.write({"web": [], "other": lab.endpoints()})
    wait_until(lambda: client.ask() == "refused")
    assert [other.ask() for other in others] == before


def test_draining_keeps_the_flow(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints([1, 0, 0])})
    daemon = lab.start("--link", "9000/udp=web")
    client = Client(lab.app, ("127.0.0.1", 9000))
    assert client.ask() == "b1"
    with daemon.logs("link web:"):
        lab.registry.write({"web": lab.endpoints([0, 1, 0])})
    assert client.ask() == "b1"
    assert Client(lab.app, ("127.0.0.1", 9000)).ask() == "b2"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("left", [["b2"], []], ids=["one-left", "none-left"])
def test_a_flow_moves_after_a_restart(lab, left, end):
    """The endpoint goes while no daemon runs; the next one sees to its flows."""
    lab.serve()
    lab.registry.write(without(lab, ["b2", "b3"], 4))
    daemon = lab.start("--link", "9000/udp=web")
    client = Client(lab.app, ("127.0.0.1", 9000))
    assert client.ask() == "b1"
    daemon.kill(end)
    daemon.wait()
    assert client.ask() == "b1"
    lab.registry.write({"web": [record for record in lab.endpoints() if record["id"] in left]})
    lab.start("--link", "9000/udp=web")
    expected = left[0] if left else "refused"
    wait_until(lambda: client.ask() == expected, what=f"the flow to find {expected}")


def test_a_flow_that_was_there_before_nuncio(lab):
    """Datagrams sent into the void before the start do not pin the flow to nowhere."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()[:1]})
    lab.app.ip("route add 10.96.0.10/32 dev eth0")
    client = Client(lab.app, ("10.96.0.10", 53))
    assert client.ask(0.2) is None
    lab.start("--link", "10.96.0.10:53/udp=web")
    wait_until(lambda: Client(lab.app, ("10.96.0.10", 53)).ask() == "b1")


def test_a_flow_that_was_there_before_the_link(lab):
    """Conntrack knows it as one to the listen address itself, and it would stay that for as long as packets come."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()[:1]})
    lab.app.ip("route add 10.96.0.10/32 dev eth0", "neigh add 10.96.0.10 lladdr 02:00:00:00:00:99 dev eth0")
    daemon = lab.start("--link", "9001=web")
    client = Client(lab.app, ("10.96.0.10", 53))
    assert client.ask(0.2) is None
    [flow] = flows(lab.app, "udp", 53)
    assert flow.endpoint == "10.96.0.10" and not flow.replied
    daemon.stop()
    lab.start("--link", "9001=web", "--link", "10.96.0.10:53/udp=web")
    wait_until(lambda: client.ask(0.2) == "b1", what="the flow to be translated")
