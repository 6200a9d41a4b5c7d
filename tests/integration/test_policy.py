# SPDX-License-Identifier: GPL-2.0-or-later
"""What a registry's trouble means for links, and what the log says of it: with a real etcd that goes, and comes back
with all, half or nothing of its data."""

import datetime
import json
import re

import pytest

import etcd
import lab as laboratory
from waiting import wait_until

SERVICES = 200
ALL = {"b1", "b2", "b3", "b4"}


@pytest.fixture(scope="module")
def ground(_ground):
    """Four backends that serve, and an etcd."""
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    lab = laboratory.Lab(backends=4)
    try:
        lab.serve()
        yield lab, etcd.Cluster(lab)
    finally:
        lab.close()


@pytest.fixture
def lab(ground):
    """With all that is to be there in etcd, and without nuncio."""
    lab, cluster = ground
    if cluster.members[0].process.poll() is None:
        cluster.members[0].kill()
    restart(cluster, [f"b{n}" for n in range(1, 5)])
    yield lab
    for daemon in lab.daemons:
        daemon.stop()
    assert lab.nuncio("cleanup").returncode == 0
    lab.state().with_name(lab.state().name + ".endpoints").unlink(missing_ok=True)


@pytest.fixture
def cluster(ground):
    return ground[1]


def restart(cluster, backends):
    """etcd begins anew, with these endpoints from the first moment in which anybody else can ask."""
    member = cluster.members[0]
    member.lose_data()
    member.cut()
    member.start()
    cluster.wait()
    namespaces = {namespace.role: namespace for namespace in cluster.lab.backends}
    for name in backends:
        cluster.put(f"/services/web/{name}", f"{namespaces[name].v4}:8080")
    member.mend()


def ids(daemon, link="web"):
    return set(daemon.endpoints(link))


def registry(daemon):
    return daemon.status()["registries"][0]


def lines(log, pattern):
    return [line for line in log.splitlines() if re.search(pattern, line)]


def test_an_outage_is_two_lines(lab, cluster):
    """Of 200 services, under load."""
    cluster.put_many((f"/services/s{n}/x", f"10.99.0.{n}:80") for n in range(1, SERVICES + 1))
    links = [{"listen": f"127.1.0.{n}:80", "service": f"s{n}"} for n in range(1, SERVICES + 1)]
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({
        "registry": cluster.uri(), "links": [{"listen": "9000", "service": "web"}, *links],
    }))
    daemon = lab.start("-c", config, registry=False)
    wait_until(lambda: all(link["state"] == "serving" for link in daemon.links().values()), 20)
    hammer = lab.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    since = len(daemon.log())
    with lab.monitor() as monitor:
        cluster.members[0].stop()
        daemon.wait_for_log(" warning ", since, 20)
        assert {link["state"] for link in daemon.links().values()} == {"stale"}
        # The reason may change while it lasts: that is for the status.
        cluster.members[0].cut()
        before = registry(daemon)["error"]
        wait_until(lambda: registry(daemon)["error"] != before, 30, lambda: registry(daemon)["error"])
        hammer.wait_for_more()
        cluster.members[0].mend()
        cluster.members[0].start()
        daemon.wait_for_log("answers again", since, 60)
        wait_until(lambda: all(link["state"] == "serving" for link in daemon.links().values()), 20)
    assert monitor.changes() == []
    result = hammer.stop()
    assert result["failed"] == 0 and set(result["by"]) == ALL, result
    log = daemon.log(since)
    warnings = lines(log, " warning ")
    assert len(warnings) == 1 and "the last known endpoints of 201 services stay" in warnings[0], log
    again = lines(log, "answers again")
    assert len(again) == 1 and re.search(rf"notice .*registry {cluster.uri()} .* for 201 services", again[0]), log
    # What is left: that the watch was lost, and from where it watches now.
    others = [line for line in log.splitlines() if line not in (*warnings, *again)]
    assert not lines("\n".join(others), r"\b(service|link) "), log

    # Then it loses its data. Each link holds what it has; not each of them is a line.
    since = len(daemon.log())
    cluster.members[0].kill()
    daemon.wait_for_log(" warning ", since, 20)
    restart(cluster, [])
    wait_until(lambda: "it lost stay" in daemon.links()["web"].get("reason", ""), 60)
    log = daemon.log(since)
    assert len(lines(log, "the registry names 0 endpoints where there w")) == 100, log
    assert len(lines(log, "and 101 more lines on links that lose endpoints")) == 1, log
    assert {len(link["endpoints"]) for link in daemon.links().values()} == {1, 4}


LINKS = ("--link", "9000=web,loss_hold=2s", "--link", "9001=web,name=off,min_healthy=0",
         "--link", "9002=web,name=kept,on_empty=keep,loss_hold=2s")


def seconds_between(log, first, last):
    times = [datetime.datetime.fromisoformat(lines(log, pattern)[0].split()[0].rstrip("Z")) for pattern in (first, last)]
    return (times[1] - times[0]).total_seconds()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_data_that_are_lost(lab, cluster, left):
    """Half is enough; less is held for loss_hold; and so is nothing, before on_empty says what it means."""
    daemon = lab.start("--registry", cluster.uri(), *LINKS, registry=False)
    wait_until(lambda: ids(daemon) == ALL)
    since = len(daemon.log())
    cluster.members[0].kill()
    daemon.wait_for_log(" warning ", since, 20)
    remaining = {f"b{n}" for n in range(1, left + 1)}
    hammer = lab.app.start_hammer("127.0.0.1:9000")
    restart(cluster, sorted(remaining))
    wait_until(lambda: ids(daemon, "off") == remaining, 30)
    if left:
        wait_until(lambda: ids(daemon, "kept") == remaining, 30)
    wait_until(lambda: ids(daemon) == remaining, 30)
    result = hammer.stop()
    log = daemon.log(since)
    if left == 2:
        assert result["failed"] == 0, result
        assert not lines(log, "min_healthy|loss_hold"), log
        return
    # Each transition is one line.
    held = f"link web: the registry names {left} endpoint.* where there were 4, .* the {4 - left} that it lost stay"
    gone = f"link web: loss_hold is over; the {4 - left} endpoints that were held go"
    assert len(lines(log, held)) == len(lines(log, gone)) == 1, log
    assert seconds_between(log, held, gone) >= 1.9
    if left:
        assert result["failed"] == 0, result
        return
    assert daemon.links()["web"]["state"] == "empty" and not lab.app.reaches("127.0.0.1:9000")
    assert ids(daemon, "kept") == ALL and len(lines(log, "link kept: .*on_empty=keep")) == 1
    # They are announced again.
    for backend in lab.backends:
        cluster.put(f"/services/web/{backend.role}", f"{backend.v4}:8080")
    wait_until(lambda: ids(daemon) == ALL)
    assert len(lines(daemon.log(since), "link kept: the registry names endpoints again")) == 1


def test_what_is_deleted_is_meant(lab, cluster):
    """The last endpoint that goes while etcd is watched is not held: who stopped the service knows."""
    daemon = lab.start("--registry", cluster.uri(), "--link", "9000=web,loss_hold=1h,min_healthy=1", registry=False)
    wait_until(lambda: ids(daemon) == ALL)
    for name in sorted(ALL):
        cluster.delete(f"/services/web/{name}")
    wait_until(lambda: daemon.links()["web"]["state"] == "empty")
    assert not lines(daemon.log(), "loss_hold")


def test_a_burst_is_few_transactions(lab, cluster):
    """100 changes, a message of etcd each, come in one moment."""
    daemon = lab.start("--registry", cluster.uri(), "--link", "9000=web", registry=False)
    wait_until(lambda: ids(daemon) == ALL)
    value = {"host": lab.backends[0].v4, "port": 8080}
    with lab.monitor() as monitor:
        daemon.kill(19)  # SIGSTOP
        for weight in range(2, 102):
            cluster.put("/services/web/b1", value | {"weight": weight})
        daemon.kill(18)  # SIGCONT
        wait_until(lambda: daemon.endpoints("web")["b1"]["weight"] == 101)
    generations = monitor.path.read_text().count("new generation")
    assert 0 < len(lines(daemon.log(), "link web: b1")) <= 10, daemon.log()
    print(f"{generations} generations of the ruleset, with those of the marks")
