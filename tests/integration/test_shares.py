# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares that change with time: slow_start, and balance=leastconn."""

from waiting import wait_until


def slots(daemon):
    return {name: endpoint["slots"] for name, endpoint in daemon.endpoints("web").items()}


def record(name):
    return {"id": name, "host": f"10.77.0.1{name[1]}", "port": 8080}


def test_one_that_comes_starts_slowly(web):
    web.registry.write({"web": [record("b1"), record("b2")]})
    daemon = web.start("--link", "9000=web,slow_start=1h,min_healthy=0")
    assert slots(daemon) == {"b1": 1, "b2": 1}  # at the start, none is new
    web.registry.write({"web": [record("b1"), record("b2"), record("b3")]})
    wait_until(lambda: slots(daemon) == {"b1": 16, "b2": 16, "b3": 1}, what="a small share")
    assert "slow start: 6 % of its weight" in daemon.endpoints("web")["b3"]["reason"]
    assert "slow start" not in daemon.endpoints("web")["b1"]["reason"]
    assert "slow start" in daemon.ask("explain", "web")
    # Those that come back, too; what is known of the others stays.
    daemon.ask("drain", "web", "b1")
    daemon.ask("undrain", "web", "b1")
    assert slots(daemon) == {"b1": 1, "b2": 16, "b3": 1}
    # Where all are new, there is nobody else to take the connections.
    web.registry.write({"web": [{"host": "10.77.0.14", "port": 8080}]})
    wait_until(lambda: list(slots(daemon).values()) == [1], what="the new endpoint alone")
    assert all("slow start" not in e["reason"] for e in daemon.endpoints("web").values() if e["state"] == "up")


def test_slow_start_ends(web):
    web.registry.write({"web": [record("b1"), record("b2")]})
    daemon = web.start("--link", "9000=web,slow_start=300ms")
    web.registry.write({"web": [record("b1"), record("b2"), record("b3")]})
    wait_until(lambda: slots(daemon) == {"b1": 1, "b2": 1, "b3": 1}, what="equal shares")
    assert daemon.endpoints("web")["b3"]["reason"] == "serving"


def test_leastconn_follows_live_connections(lab):
    for backend in lab.backends:
        backend.serve(options=["--echo"])
    lab.registry.write({"web": [record("b1"), record("b2")]})
    daemon = lab.start("--link", "9000=web,balance=leastconn")
    assert slots(daemon) == {"b1": 64, "b2": 64}
    assert daemon.links()["web"]["balance"] == "leastconn"
    held = [lab.app.socket() for _ in range(60)]
    for one in held:
        one.connect(("127.0.0.1", 9000))
    assert [e["live"] for e in daemon.endpoints("web").values()] == [30, 30]
    assert "leastconn: 64 of 128 slots, 30 live" in daemon.endpoints("web")["b1"]["reason"]
    lab.registry.write({"web": [record("b1"), record("b2"), record("b3")]})
    wait_until(lambda: slots(daemon).get("b3", 0) > 100, timeout=30, what="the new one to get most connections")
    assert sum(slots(daemon).values()) == 128
