# SPDX-License-Identifier: GPL-2.0-or-later
"""Ejection: endpoints to which connections fail get none for a while, and then come back."""

import json
import signal
import socket
import struct

import pytest

from waiting import scaled, wait_until

GROUP = 28277  # REPORT_GROUP

WAYS = [
    pytest.param("9000", "127.0.0.1:9000", 4, False, id="loopback"),
    pytest.param("[fd00:aa::1]:80", "[fd00:aa::1]:80", 6, False, id="ipv6-vip"),
    pytest.param("10.96.0.10:80", "10.96.0.10:80", 4, True, id="gateway"),
    pytest.param("[fd00:aa::1]:80", "[fd00:aa::1]:80", 6, True, id="ipv6-gateway"),
]

BLACK_HOLE = "add table inet dead; add chain inet dead in { type filter hook input priority 0; }; " \
             "add rule inet dead in tcp dport 8080 drop"


def write_conf(lab, listen="9000", eject=None, **keys):
    link = {"listen": listen, "service": "web", **keys}
    if eject is not None:
        link["eject"] = eject
    (lab.path / "conf.json").write_text(json.dumps({"links": [link]}))


def start(lab, *args, family=4, **conf):
    lab.registry.write({"web": lab.endpoints(family=family)})
    write_conf(lab, **conf)
    return lab.start("-c", lab.path / "conf.json", *args)


def connect_many(client, target):
    """More connections than it takes; the clients wait for as long as the kernel tries on their behalf."""
    return client.hammer(target, count=30, concurrency=30, timeout=int(scaled(30000)))


def wait_for_state(daemon, endpoint, state):
    """Waits for it, and returns what status says of the endpoint."""

    def described():
        found = daemon.endpoints("web")[endpoint]
        return found if found["state"] == state else None

    return wait_until(described, 20, lambda: f"{endpoint} to be {state}: {daemon.endpoints('web')[endpoint]}")


def is_watched(lab):
    """Does a socket in the namespace listen to the reports?"""
    lines = lab.app.run("cat", "/proc/net/netfilter/nfnetlink_log").splitlines()
    return any(int(line.split()[0]) == GROUP for line in lines)


def events(daemon):
    return [json.loads(line) for line in daemon.ask("events", "--no-follow", "--json", "-n", "100").splitlines()]


@pytest.mark.lab(client=True)
@pytest.mark.parametrize("listen, target, family, gateway", WAYS)
def test_who_refuses_is_out_and_comes_back(lab, listen, target, family, gateway):
    for backend in lab.backends[:2]:
        backend.serve()
    daemon = start(lab, family=family, listen=listen, eject={"failures": 3, "for": f"{int(scaled(2))}s"})
    client = lab.client if gateway else lab.app
    load = client.start_hammer(target, count=30, concurrency=30, timeout=int(scaled(30000)))
    b3 = wait_for_state(daemon, "b3", "ejected")
    assert load.result()["failed"] == 0
    assert b3["slots"] == 0 and b3["ejection"]["ejections"] >= 1
    assert "refused" in b3["reason"] and "ejected until" in b3["reason"]
    lab.backends[2].serve()
    wait_for_state(daemon, "b3", "up")
    assert client.hammer(target, count=3)["by"] == {"b1": 1, "b2": 1, "b3": 1}
    told = [(event["text"], event["cause"]) for event in events(daemon) if "ejection" in event.get("cause", "")]
    assert any(text.startswith("b3 is ejected for ") for text, _ in told), told
    assert ("b3(up->ejected)", "ejection") in told and ("b3(ejected->up)", "ejection") in told, told
    assert any(text.startswith("b3 is back after ") for text, _ in told), told


def test_without_retry_refusals_eject_too(lab):
    for backend in lab.backends[:2]:
        backend.serve()
    daemon = start(lab, eject={"failures": 1, "for": "1h"}, retry=False)
    assert lab.app.hammer("127.0.0.1:9000", count=3)["failed"] == 1
    wait_for_state(daemon, "b3", "ejected")
    assert lab.app.hammer("127.0.0.1:9000", count=6)["failed"] == 0


def test_a_client_does_not_stick_to_one_that_is_out(lab):
    responders = {backend.role: backend.serve() for backend in lab.backends}
    daemon = start(lab, eject={"failures": 1, "for": "1h"}, affinity="1h", retry=False)
    (its_own,) = lab.app.hammer("127.0.0.1:9000", count=2)["by"]
    responders[its_own].kill()
    responders[its_own].wait()
    assert lab.app.hammer("127.0.0.1:9000", count=1)["failed"] == 1
    wait_for_state(daemon, its_own, "ejected")
    assert lab.app.hammer("127.0.0.1:9000", count=6)["failed"] == 0


@pytest.mark.parametrize("family, listen, target", [(4, "9000", "127.0.0.1:9000"),
                                                    (6, "[fd00:aa::1]:80", "[fd00:aa::1]:80")])
def test_who_does_not_answer_is_out(lab, family, listen, target):
    lab.serve()
    lab.backends[1].run("nft", BLACK_HOLE)
    daemon = start(lab, family=family, listen=listen, eject={"failures": 3, "for": "1h"})
    assert connect_many(lab.app, target)["failed"] == 0
    b2 = wait_for_state(daemon, "b2", "ejected")
    assert b2["reason"].startswith("3 connections not answered within 10 s; ejected until ")
    assert lab.app.hammer(target, count=4)["by"] == {"b1": 2, "b3": 2}
    assert "3 connections not answered within 10 s; ejected until " in daemon.ask("explain", "web")


def test_a_refusal_that_is_retried_counts_once(lab):
    """The SYN that comes again tells nothing new."""
    lab.backends[0].serve()
    lab.registry.write({"web": lab.endpoints()[:2]})
    write_conf(lab, eject={"failures": 32, "for": "1h"})
    daemon = lab.start("-c", lab.path / "conf.json")
    assert lab.app.hammer("127.0.0.1:9000", count=10, concurrency=10, timeout=int(scaled(30000)))["failed"] == 0
    retried = daemon.endpoints("web")["b2"]["retried"]
    assert retried >= 5
    wait_until(lambda: daemon.endpoints("web")["b2"]["ejection"]["failures"] == retried, what="all failures")
    assert daemon.endpoints("web")["b1"]["ejection"]["failures"] == 0


def test_one_that_fails_again_is_out_for_longer(lab):
    for backend in lab.backends[:2]:
        backend.serve()
    daemon = start(lab, eject={"failures": 1, "for": "1s"})
    load = lab.app.start_hammer("127.0.0.1:9000", seconds=scaled(60), rate=100, concurrency=20)
    b3 = wait_until(lambda: (e := daemon.endpoints("web")["b3"])["ejection"]["times"] >= 2 and e["state"] == "ejected"
                    and e, 20, "the second time")
    assert load.stop()["failed"] == 0
    assert "(for 2 s, the 2nd time)" in b3["reason"] or b3["ejection"]["times"] > 2


def test_all_that_refuse_stay_but_half_and_come_back(lab):
    """With nobody serving, clients are told; and when all are well again, all get connections, by themselves."""
    daemon = start(lab, eject={"failures": 1, "for": "1s"}, retry=False)
    result = lab.app.hammer("127.0.0.1:9000", count=30, rate=100)
    assert result["ok"] == 0
    wait_until(lambda: any(e["state"] == "ejected" for e in daemon.endpoints("web").values()), what="one to be out")
    for _ in range(20):
        lab.app.hammer("127.0.0.1:9000", count=10)
        assert sum(e["state"] == "ejected" for e in daemon.endpoints("web").values()) <= 1
    lab.serve()
    for backend in ("b1", "b2", "b3"):
        wait_for_state(daemon, backend, "up")
    assert lab.app.hammer("127.0.0.1:9000", count=6)["by"] == {"b1": 2, "b2": 2, "b3": 2}


def test_where_nobody_ejects_there_is_nothing(web):
    daemon = start(web)
    plain = web.app.table()
    assert "log" not in plain and "eject" not in plain and not is_watched(web)

    write_conf(web, eject=True)
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: is_watched(web), what="the socket")
    assert f"group {GROUP}" in web.app.table()

    write_conf(web)
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: not is_watched(web), what="the socket to close")
    wait_until(lambda: web.app.table() == plain, what=web.app.table)


@pytest.mark.parametrize("options", [[], ["--share-table"]], ids=["owned", "shared"])
def test_a_restart_begins_anew(lab, options):
    """What was counted before is of another time; what fails from now on counts."""
    for backend in lab.backends[:2]:
        backend.serve()
    daemon = start(lab, *options, eject={"failures": 3, "for": "1h"})
    assert connect_many(lab.app, "127.0.0.1:9000")["failed"] == 0
    wait_for_state(daemon, "b3", "ejected")
    before = lab.app.table()
    daemon.stop()

    daemon = lab.start("-c", lab.path / "conf.json", *options)
    b3 = wait_for_state(daemon, "b3", "up")
    assert (b3["slots"], b3["ejection"]["failures"]) == (1, 0)
    assert "set failed4" in before and "set failed4" in lab.app.table()
    assert connect_many(lab.app, "127.0.0.1:9000")["failed"] == 0
    wait_for_state(daemon, "b3", "ejected")


def take_group(lab):
    """Listens to the reports, as another program might."""
    other = lab.app.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    other.bind((0, 0))
    command = struct.pack("=HHB3x", 5, 1, 1)  # NFULA_CFG_CMD: NFULNL_CFG_CMD_BIND
    general = struct.pack("=BBH", 0, 0, socket.htons(GROUP))
    kind, flags = 4 << 8 | 1, 1 | 4  # NFULNL_MSG_CONFIG; NLM_F_REQUEST, NLM_F_ACK
    length = 16 + len(general) + len(command)
    other.send(struct.pack("=IHHII", length, kind, flags, 1, 0) + general + command)
    assert struct.unpack("=i", other.recv(4096)[16:20])[0] == 0
    return other


def test_what_another_program_took_is_had_when_it_ends(web):
    other = take_group(web)
    daemon = start(web, eject=True)
    complaint = daemon.status()["ambassadors"][0]["eject_error"]
    assert complaint == f"eject has no effect: another program has group {GROUP} of nfnetlink_log"
    assert web.app.hammer("127.0.0.1:9000", count=3)["ok"] == 3
    other.close()
    wait_until(lambda: "eject_error" not in daemon.status()["ambassadors"][0], 40, "another try")
    assert is_watched(web)
