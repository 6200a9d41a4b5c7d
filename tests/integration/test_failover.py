# SPDX-License-Identifier: GPL-2.0-or-later
"""Endpoints that are dead but still in the registry: a new connection comes to another one, and no client sees an error."""

import errno
import json
import re
import socket
import struct
import time

import pytest

from waiting import scaled, wait_until

WAYS = [
    pytest.param("9000=web", "127.0.0.1:9000", 4, False, id="loopback"),
    pytest.param("10.96.0.10:80=web", "10.96.0.10:80", 4, False, id="vip"),
    pytest.param("[fd00:aa::1]:80=web", "[fd00:aa::1]:80", 6, False, id="ipv6-vip"),
    pytest.param("10.96.0.10:80=web", "10.96.0.10:80", 4, True, id="gateway"),
    pytest.param("[fd00:aa::1]:80=web", "[fd00:aa::1]:80", 6, True, id="ipv6-gateway"),
]

# How a backend dies: what its namespace does to connections, or None for a port where nobody listens.
DEATHS = {
    "refuses": None,
    "black-hole": "tcp dport 8080 drop",
    "prohibited": "tcp dport 8080 reject with icmpx type admin-prohibited",
}


def die(backend, rule):
    if rule:
        backend.run("nft", "add table inet dead; add chain inet dead in { type filter hook input priority 0; }; "
                    f"add rule inet dead in {rule}")


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("link, target, family, gateway", WAYS)
@pytest.mark.lab(client=True)
def test_a_dead_endpoint_costs_no_error(lab, link, target, family, gateway, death):
    for backend in lab.backends[:2]:
        backend.serve()
    die(lab.backends[2], DEATHS[death])
    lab.registry.write({"web": lab.endpoints(family=family)})
    lab.start("--link", link)
    client = lab.client if gateway else lab.app
    result = client.hammer(target, count=30, concurrency=30, timeout=int(scaled(30000)))
    assert result["failed"] == 0, result["errors"]
    assert set(result["by"]) == {"b1", "b2"}


def test_two_of_three_dead_cost_no_error(lab):
    lab.backends[0].serve()
    die(lab.backends[1], DEATHS["black-hole"])
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", "9000=web")
    result = lab.app.hammer("127.0.0.1:9000", count=6, concurrency=6, timeout=int(scaled(60000)))
    assert (result["failed"], result["by"]) == (0, {"b1": 6}), result["errors"]


def test_a_host_that_is_gone_costs_no_error(lab):
    """Until ARP gives up the SYN waits for it, and TCP with it; then the kernel says that the host is unreachable."""
    for backend in lab.backends[:2]:
        backend.serve()
    lab.registry.write({"web": lab.endpoints()})
    lab.backends[2].ip("link set eth0 down")
    lab.start("--link", "9000=web")
    result = lab.app.hammer("127.0.0.1:9000", count=3, concurrency=3, timeout=int(scaled(60000)))
    assert result["failed"] == 0, result["errors"]


def test_what_was_kept_from_clients_is_counted(lab):
    for backend in lab.backends[:2]:
        backend.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000=web")
    lab.app.hammer("127.0.0.1:9000", count=6, concurrency=6, timeout=int(scaled(30000)))
    endpoints = daemon.endpoints("web")
    assert endpoints["b3"]["retried"] >= 2
    assert endpoints["b1"]["retried"] == endpoints["b2"]["retried"] == 0
    assert re.findall(r"\d+ that it refused", daemon.ask("explain", "web")) == \
        [f"{endpoints['b3']['retried']} that it refused"]


def test_without_retry_a_refusal_is_a_refusal(lab):
    for backend in lab.backends[:2]:
        backend.serve()
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", "9000=web,retry=false")
    result = lab.app.hammer("127.0.0.1:9000", count=30)
    assert result["errors"] == {"connect: Connection refused": 10}


@pytest.mark.slow
def test_when_all_refuse_the_client_is_told(lab):
    """Not at once, since another endpoint may do better, but before TCP itself gives up."""
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", "9000=web")
    result = lab.app.hammer("127.0.0.1:9000", count=1, timeout=int(scaled(60000)))
    assert result["errors"] == {"connect: Connection refused": 1}


def test_resets_of_connections_get_through(lab):
    """What refuses a SYN is kept from the client; what resets a connection is not."""
    listener = lab.backends[0].socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((lab.backends[0].v4, 8080))
    listener.listen()
    lab.registry.write({"web": lab.endpoints()[:1]})
    lab.start("--link", "9000=web")
    client = lab.app.socket()
    client.connect(("127.0.0.1", 9000))
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_connection_that_conntrack_forgot_is_reset(lab):
    """Its next packet is translated to any endpoint; the RST of that one is no refusal, and must come through."""
    lab.serve()
    listener = lab.backends[0].socket()
    listener.bind((lab.backends[0].v4, 8081))
    listener.listen()
    lab.registry.write({"web": [f"{lab.backends[0].v4}:8081"]})
    daemon = lab.start("--link", "9000=web")
    client = lab.app.socket()
    client.connect(("127.0.0.1", 9000))
    lab.registry.write({"web": [f"{lab.backends[1].v4}:8080"]})
    wait_until(lambda: f"{lab.backends[1].v4}:8080" in daemon.endpoints("web"))
    lab.app.run("conntrack", "-D", "-p", "tcp", "--orig-port-dst", "9000")
    client.send(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_the_patience_of_a_link_can_be_chosen(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    config = lab.path / "nuncio.json"

    def configure(retry):
        link = {"listen": "9000", "service": "web", "registry": lab.registry.uri, "retry": retry}
        config.write_text(json.dumps({"links": [link]}))

    configure("30s")
    daemon = lab.start("-c", config)
    assert "syn_sent : 30" in lab.app.table()
    client = lab.app.socket()
    client.connect(("127.0.0.1", 9000))
    for retry, expected in [("7s", "syn_sent : 7"), (False, "@noretry4 accept"), (True, "syn_sent : 1")]:
        configure(retry)
        with daemon.logs("the new configuration is in force"):
            daemon.kill(1)
        if retry is False:
            wait_until(lambda: "elements = { tcp . 127.0.0.1 . 9000 }" in lab.app.run(
                "nft", "list", "set", "inet", "nuncio", "noretry4"))
        wait_until(lambda: expected in lab.app.table(), what=expected)
        assert lab.app.reaches("127.0.0.1:9000")
    assert "policy-web" not in lab.app.table()
    assert client.recv(100)


# Affinity


def who(namespace, target, source=None, timeout=30):
    """Connects from an address and returns the name of the backend."""
    host, port = target
    made = namespace.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.settimeout(scaled(timeout))
    if source:
        made.bind((source, 0))
    made.connect((host, port))
    return made.makefile().readline().strip()


@pytest.mark.parametrize("link, target, family", [
    ("9000=web", ("127.0.0.1", 9000), 4), ("[fd00:aa::1]:80=web", ("fd00:aa::1", 80), 6)], ids=["ipv4", "ipv6"])
def test_a_client_keeps_its_endpoint(lab, link, target, family):
    lab.serve()
    lab.registry.write({"web": lab.endpoints(family=family)})
    lab.start("--link", f"{link},affinity=1h")
    first = who(lab.app, target)
    assert {who(lab.app, target) for _ in range(9)} == {first}


@pytest.mark.lab(client=True)
def test_every_client_has_its_own(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    sources = [f"10.78.0.{i}" for i in range(10, 22)]
    lab.client.ip(*(f"addr add {source}/24 dev eth0" for source in sources))
    lab.start("--link", "10.96.0.10:80=web,affinity=1h")
    before = {source: who(lab.client, ("10.96.0.10", 80), source) for source in sources}
    assert [list(before.values()).count(backend) for backend in ("b1", "b2", "b3")] == [4, 4, 4]
    assert {source: who(lab.client, ("10.96.0.10", 80), source) for source in sources} == before
    lab.registry.write({"web": [e for e in lab.endpoints() if e["id"] != "b2"]})
    wait_until(lambda: "10.77.0.12" not in lab.app.table(), what="b2 to be gone, and its clients with it")
    after = {source: who(lab.client, ("10.96.0.10", 80), source) for source in sources}
    assert {s: b for s, b in after.items() if before[s] != "b2"} == {s: b for s, b in before.items() if b != "b2"}
    assert set(after.values()) == {"b1", "b3"}


@pytest.mark.parametrize("option", ["affinity=1h", "balance=source", "balance=source,affinity=1h"])
@pytest.mark.parametrize("death", DEATHS)
def test_a_client_leaves_a_dead_endpoint(lab, death, option):
    """Even before the registry knows: the SYN that comes again goes elsewhere, and with affinity the client stays there."""
    responders = [backend.serve() for backend in lab.backends]
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", f"9000=web,{option}")
    first = who(lab.app, ("127.0.0.1", 9000))
    dead = int(first[1]) - 1
    die(lab.backends[dead], DEATHS[death])
    responders[dead].kill()
    responders[dead].wait()
    second = who(lab.app, ("127.0.0.1", 9000))
    assert second != first
    if "affinity" in option:
        assert {who(lab.app, ("127.0.0.1", 9000), timeout=0.9) for _ in range(5)} == {second}


def test_a_port_that_is_used_again_is_another_attempt(lab):
    """The same addresses and ports a moment later are no SYN that comes again: the client keeps its endpoint."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", "9000=web,affinity=1h")

    def connect():
        made = lab.app.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves no TIME_WAIT
        made.bind(("127.0.0.1", 5555))
        made.connect(("127.0.0.1", 9000))
        name = made.recv(100)
        made.close()
        # Else the next SYN might meet the end of this connection, and have to be sent again.
        wait_until(lambda: not lab.app.run("conntrack", "-L", "-p", "tcp", "--orig-port-src", "5555"), 10)
        return name

    assert len({connect() for _ in range(4)}) == 1


@pytest.mark.parametrize("by_hand", [False, True], ids=["registry", "by-hand"])
def test_a_drained_endpoint_loses_its_clients(lab, by_hand):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000=web,affinity=1h")
    first = who(lab.app, ("127.0.0.1", 9000))
    index = int(first[1]) - 1
    if by_hand:
        daemon.ask("drain", "web", first)
    else:
        lab.registry.write({"web": lab.endpoints([int(i != index) for i in range(3)])})
    wait_until(lambda: daemon.endpoints("web")[first]["state"] == "draining", 10)
    assert who(lab.app, ("127.0.0.1", 9000)) != first


def test_affinity_of_udp(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    lab.start("--link", "9000/udp=web,affinity=1h")
    result = lab.app.hammer("127.0.0.1:9000", count=30, udp=True)
    assert list(result["by"].values()) == [30]


def test_affinity_outlives_the_daemon(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000=web,affinity=1h")
    first = who(lab.app, ("127.0.0.1", 9000))
    daemon.kill()
    with lab.monitor() as monitor:
        lab.start("--link", "9000=web,affinity=1h")
    assert monitor.changes() == []
    assert {who(lab.app, ("127.0.0.1", 9000)) for _ in range(6)} == {first}


def test_a_restart_ends_what_ended_meanwhile(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000=web,affinity=1h")
    first = who(lab.app, ("127.0.0.1", 9000))
    daemon.kill()
    lab.registry.write({"web": [e for e in lab.endpoints() if e["id"] != first]})
    lab.start("--link", "9000=web,affinity=1h")
    assert who(lab.app, ("127.0.0.1", 9000)) != first


def test_affinity_can_be_switched_on_and_off(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    config = lab.path / "nuncio.json"

    def configure(affinity):
        links = [{"listen": f"900{i}", "service": "web", "registry": lab.registry.uri, "affinity": affinity}
                 for i in range(3)]
        config.write_text(json.dumps({"links": links}))

    configure("off")
    daemon = lab.start("-c", config)
    assert "affinity4" not in lab.app.table()
    for affinity, maps in [("1h", 3), ("2h", 3), ("off", 0), ("30s", 3)]:
        configure(affinity)
        with daemon.logs("the new configuration is in force"):
            daemon.kill(1)
        wait_until(lambda: lab.app.table().count("map affinity4-") == maps, what=f"{maps} maps")
    assert lab.app.table().count("timeout 30s") == 3
    assert len({who(lab.app, ("127.0.0.1", 9001)) for _ in range(6)}) == 1
