# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS as a registry: a real server, its records, and what befalls it."""

import pathlib
import shutil
import socket

import pytest

import dns
from waiting import wait_until

NAME = "_web._tcp.test"
LINK = f"9000={NAME},name=web,loss_hold=0s"


@pytest.fixture
def server(lab):
    if dns.obstacle():
        pytest.skip(dns.obstacle())
    return dns.Server(lab)


def hosts(lab):
    return [dns.host(f"{b.role}.test", b.v4) for b in lab.backends]


def srvs(backends, **options):
    return [dns.srv(NAME, f"{b.role}.test", 8080, **options) for b in backends]


@pytest.fixture
def web(lab, server):
    """Three backends that serve, and that DNS has as service _web._tcp.test."""
    lab.serve()
    server.start(*hosts(lab), *srvs(lab.backends))
    return lab


def start(lab, server, *links, **options):
    args = [arg for link in links or [LINK] for arg in ("--link", link)]
    return lab.start("--registry", server.uri, *args, registry=False, **options)


def at(*backends, port=8080):
    return {f"{b.v4}:{port}" for b in backends}


def wait_for(daemon, expected, link="web", timeout=20):
    """Until the kernel has exactly these endpoints."""
    wait_until(lambda: set(daemon.endpoints(link)) == set(expected), timeout,
               lambda: f"{expected}, not {set(daemon.endpoints(link))}")


def registry(daemon):
    return daemon.status()["registries"][0]


def test_records_come_and_go(web, server):
    b1, b2, b3 = web.backends
    daemon = start(web, server)
    wait_for(daemon, at(b1, b2, b3))
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    server.start(*hosts(web), *srvs([b1]))
    wait_for(daemon, at(b1))
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}
    server.start(*hosts(web), *srvs([b1, b2]))
    wait_for(daemon, at(b1, b2))
    state = registry(daemon)
    assert state["connected"] and state["revision"] == "2 SRV addresses, TTL 0" and "error" not in state


def test_priorities_and_weights(web, server):
    """The lowest priority serves, by weight; weight 0 beside others is a small share, and no drain."""
    b1, b2, b3 = web.backends
    server.start(*hosts(web), *srvs([b1], weight=30), *srvs([b2], weight=10), *srvs([b3], priority=1, weight=50))
    daemon = start(web, server)
    wait_for(daemon, at(b1, b2, b3))
    assert web.app.hammer("127.0.0.1:9000", count=400)["by"] == {"b1": 300, "b2": 100}
    server.start(*hosts(web), *srvs([b1], weight=1), *srvs([b2], weight=0), *srvs([b3], weight=1))
    wait_until(lambda: {e["weight"] for e in daemon.endpoints("web").values()} == {50, 1})
    assert daemon.endpoints("web")[f"{b2.v4}:8080"]["state"] == "up"
    assert web.app.hammer("127.0.0.1:9000", count=202)["by"] == {"b1": 100, "b2": 2, "b3": 100}


def test_addresses_with_a_port(web, server):
    """IPv4 and IPv6; a link serves the family that it listens on."""
    b1, b2, b3 = web.backends
    server.start(dns.host("all.test", b1.v4, b1.v6), dns.host("all.test", b2.v4))
    daemon = start(web, server, "9000=all.test:8080,name=four", "[fd00:aa::1]:9000=all.test:8080,name=six")
    both = {f"{b1.v4}:8080", f"{b2.v4}:8080", f"[{b1.v6}]:8080"}
    wait_for(daemon, both, "four")
    wait_for(daemon, both, "six")
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b2": 50}
    assert web.app.hammer("[fd00:aa::1]:9000", count=100)["by"] == {"b1": 100}
    assert registry(daemon)["revision"] == "3 addresses, TTL 0"


def test_an_answer_that_is_truncated(lab, server):
    """100 targets do not fit into a datagram: they come over TCP, and so do those that come without addresses."""
    addresses = [f"10.77.1.{i}" for i in range(1, 101)]
    server.start(*(dns.host(f"target-{i}.test", address) for i, address in enumerate(addresses)),
                 *(dns.srv(NAME, f"target-{i}.test", 8080) for i in range(100)))
    assert server.ask(NAME, dns.SRV)[2] & 2, "the answer over UDP is not truncated"
    daemon = start(lab, server)
    wait_for(daemon, {f"{address}:8080" for address in addresses})
    assert registry(daemon)["skipped_records"] == 0


@pytest.mark.slow
def test_targets_without_additional_section(lab):
    """Their addresses are asked for; a target that has none is skipped, one whose addresses fail stays."""
    lab.serve()
    b1, b2, b3 = lab.backends
    failing = set()
    asked_for = []

    def answer(asked):
        label = asked[13:13 + asked[12]].decode()
        asked_for.append(label)
        if label == "_web":
            return dns.reply(asked, 0, [(NAME, dns.SRV, 0, dns.srv_data(f"{t}.test", 8080)) for t in "abcd"])
        if label in failing:
            return dns.reply(asked, dns.SERVFAIL)
        backend = {"a": b1, "b": b2, "c": b3}.get(label)
        is_a = asked[asked.index(b"\0", 12) + 2] == dns.A
        records = [(f"{label}.test", dns.A, 0, socket.inet_aton(backend.v4))] if backend and is_a else []
        return dns.reply(asked, 0, records)

    script = dns.Script(lab, answer)
    daemon = start(lab, script)
    wait_for(daemon, at(b1, b2, b3))
    assert registry(daemon)["skipped_records"] == 1
    failing.add("a")
    count = len(asked_for)
    wait_until(lambda: asked_for[count:].count("_web") > 8, 60)  # 1 s apart or more: longer than the hold-down
    assert asked_for[count:].count("a") and set(daemon.endpoints("web")) == at(b1, b2, b3)
    assert daemon.log().count("target d.test: it has no address") == 1


@pytest.mark.slow
def test_no_records_are_believed_the_third_time(web, server):
    daemon = start(web, server)
    wait_for(daemon, at(*web.backends))
    asked = server.queries(NAME)
    server.start(*hosts(web))
    wait_for(daemon, set())
    assert server.queries(NAME) >= asked + 3
    assert daemon.links()["web"]["state"] == "empty" and not web.app.reaches("127.0.0.1:9000")
    server.start(*hosts(web), *srvs(web.backends))
    wait_for(daemon, at(*web.backends))
    server.start(*hosts(web), f"srv-host={NAME}")  # the target is "."
    wait_for(daemon, set())
    assert "error" not in registry(daemon)


def test_no_records_for_a_moment(web, server):
    daemon = start(web, server)
    wait_for(daemon, at(*web.backends))
    with web.monitor() as monitor:
        asked = server.queries(NAME)
        server.start(*hosts(web))
        wait_until(lambda: server.queries(NAME) > asked)
        server.start(*hosts(web), *srvs(web.backends))
        asked = server.queries(NAME)
        wait_until(lambda: server.queries(NAME) > asked + 2, 20)
    assert monitor.changes() == []


@pytest.mark.slow
def test_a_record_that_is_missing_for_a_moment(web, server):
    daemon = start(web, server)
    wait_for(daemon, at(*web.backends))
    with web.monitor() as monitor:
        asked = server.queries(NAME)
        server.start(*hosts(web), *srvs(web.backends[1:]))
        wait_until(lambda: server.queries(NAME) > asked)
        server.start(*hosts(web), *srvs(web.backends))
        asked = server.queries(NAME)
        wait_until(lambda: server.queries(NAME) > asked + 6, 20)
    assert monitor.changes() == []


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back(web, server):
    b1, b2, b3 = web.backends
    daemon = start(web, server)
    wait_for(daemon, at(b1, b2, b3))
    with web.monitor() as monitor:
        server.stop()
        wait_until(lambda: daemon.links()["web"]["state"] == "stale", 20)
        assert not registry(daemon)["connected"] and "can be reached" in registry(daemon)["error"]
        web.bridge.ip("link set dns1 down")  # silence, where there were refusals
        wait_until(lambda: "imeout" in registry(daemon)["error"], 30)
        assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
        web.bridge.ip("link set dns1 up")
        server.start(authority=False)  # with the records that it had
        wait_until(lambda: registry(daemon)["connected"], 60)
    assert monitor.changes() == []
    server.start("address=/unrelated/", authority=False)
    wait_until(lambda: daemon.links()["web"]["state"] == "stale", 20)  # REFUSED
    assert set(daemon.endpoints("web")) == at(b1, b2, b3)
    server.start(*hosts(web), *srvs([b1, b2]))
    wait_for(daemon, at(b1, b2), timeout=60)
    assert registry(daemon)["connected"] and "error" not in registry(daemon)


@pytest.mark.slow
def test_what_is_no_answer(lab):
    """SERVFAIL, a message that is cut off, garbage: errors, and the endpoints stay."""
    def good(asked):
        return dns.reply(asked, 0, [(NAME, dns.SRV, 0, dns.srv_data("a.test", 8080))],
                         [("A.test", dns.A, 0, socket.inet_aton(lab.backends[0].v4))])

    script = dns.Script(lab, good)
    daemon = start(lab, script)
    wait_for(daemon, at(lab.backends[0]))
    errors = []
    for bad in (lambda asked: dns.reply(asked, dns.SERVFAIL), lambda asked: good(asked)[:-6],
                lambda asked: asked[:2] + b"\x81\x80" + b"\xff" * 40):
        script.answer = bad
        wait_until(lambda: not registry(daemon)["connected"], 30)
        assert set(daemon.endpoints("web")) == at(lab.backends[0]), registry(daemon)
        errors.append(registry(daemon)["error"])
        script.answer = good
        wait_until(lambda: registry(daemon)["connected"], 60)
    assert "SERVFAIL" in errors[0] and "malformed" in errors[1] and len(errors) == 3, errors


def test_the_time_to_live_is_kept(web, server):
    """While another registry, with TTL 0, is asked again and again, one with TTL 3600 is not."""
    eager = dns.Server(web, 2, ttl=0)
    eager.start(*hosts(web), *srvs(web.backends))
    server.ttl = 3600
    server.start()
    asked = server.queries(NAME)
    daemon = start(web, server, LINK, f"9001={NAME},name=too", f"9002={NAME},name=eager,registry={eager.uri}")
    wait_for(daemon, at(*web.backends), "too")
    wait_until(lambda: eager.queries(NAME) >= 4, 20)
    assert server.queries(NAME) == asked + 1, "one question for two links"


def test_resolv_conf_is_read_again(web, server):
    """Without a server in the URI; the file is changed in place, as it is a mount here."""
    other = dns.Server(web, 2)
    other.start(*hosts(web), *srvs(web.backends[:1]))
    etc = pathlib.Path("/etc/netns", web.app.name)
    etc.mkdir(parents=True)
    try:
        (etc / "resolv.conf").write_text(f"nameserver {server.namespace.v4}\n")
        daemon = web.start("--registry", "dns:///", "--link", LINK, registry=False)
        wait_for(daemon, at(*web.backends))
        (etc / "resolv.conf").write_text(f"# changed\nnameserver {other.namespace.v4}\n")
        wait_for(daemon, at(web.backends[0]))
        assert other.queries(NAME)
    finally:
        shutil.rmtree(etc)


def test_a_service_that_is_no_name(lab, server):
    server.start()
    daemon = start(lab, server, "9000=web..test,name=bad", "9001=web.test:0,name=worse")
    daemon.wait_for_log("is not a name in DNS")
    daemon.wait_for_log("1-65535")
    assert not registry(daemon)["connected"] and "web" in registry(daemon)["error"]
