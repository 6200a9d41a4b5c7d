# SPDX-License-Identifier: GPL-2.0-or-later
"""A start without kernel table and registry, as after a power cut: the endpoints that were known last."""

import json
import re

import pytest

import etcd
from waiting import wait_until

EVEN = {"b1": 100, "b2": 100, "b3": 100}


def kept(lab):
    """The file of the last known endpoints."""
    return lab.state().with_name(lab.state().name + ".endpoints")


def ids(daemon, link="web"):
    return set(daemon.endpoints(link))


def spread(lab, target="127.0.0.1:9000"):
    return lab.app.hammer(target, count=300)["by"]


def reboot(lab, daemon=None):
    """What is left then: the disk."""
    if daemon:
        daemon.stop()
    assert lab.nuncio("cleanup").returncode == 0
    assert "table inet nuncio" not in lab.app.run("nft", "list", "ruleset")


@pytest.fixture
def cut(web):
    """A nuncio ran, and there is neither its table nor its registry any more."""
    daemon = web.start("--link", "9000=web")
    assert ids(daemon) == {"b1", "b2", "b3"}
    reboot(web, daemon)
    web.registry.path.unlink()
    return web


def test_the_last_known_endpoints_serve(cut):
    daemon = cut.start("--link", "9000=web")
    assert spread(cut) == EVEN
    daemon.wait_for_log(rf"notice .*1 link begins with the endpoints of {kept(cut)}, \d+ s old at most")
    link = daemon.links()["web"]
    assert link["state"] == "stale" and link["endpoints_age_seconds"] >= 0
    reason = r".*services.json: .*; the endpoints are from the state file, as the registry named them \d+ s ago"
    assert re.fullmatch(reason, link["reason"])
    assert re.search(reason, daemon.ask("status")) and re.search(reason, daemon.ask("explain", "web"))
    assert kept(cut).stat().st_mode & 0o777 == 0o600

    # The registry comes back and knows better.
    cut.backends[0].serve("new", port=8081)
    cut.registry.write({"web": cut.endpoints([1, 1, 2])[1:] + [{"id": "new", "host": cut.backends[0].v4, "port": 8081}]})
    wait_until(lambda: ids(daemon) == {"b2", "b3", "new"})
    assert spread(cut) == {"b2": 75, "b3": 150, "new": 75}
    link = daemon.links()["web"]
    assert link["state"] == "serving" and not {"reason", "endpoints_age_seconds"} & set(link)
    # That is what is known from now on.
    reboot(cut, daemon)
    cut.registry.path.unlink()
    daemon = cut.start("--link", "9000=web")
    assert spread(cut) == {"b2": 75, "b3": 150, "new": 75}


def test_the_same_answer_changes_nothing(cut):
    daemon = cut.start("--link", "9000=web")
    with cut.monitor() as monitor:
        cut.registry.write({"web": cut.endpoints()})
        wait_until(lambda: daemon.links()["web"]["state"] == "serving")
    assert monitor.changes() == [] and spread(cut) == EVEN


def test_a_first_answer_may_be_a_mass_loss(cut):
    daemon = cut.start("--link", "9000=web,loss_hold=1h")
    cut.registry.write({"web": cut.endpoints()[:1]})
    wait_until(lambda: "names 1 endpoint where there were 3" in daemon.links()["web"].get("reason", ""))
    assert spread(cut) == EVEN


def test_several_starts_without_the_registry(cut):
    cut.start("--link", "9000=web").stop()
    first = [json.loads(line) for line in kept(cut).read_text().splitlines()][1]
    reboot(cut)
    daemon = cut.start("--link", "9000=web")
    assert spread(cut) == EVEN
    reboot(cut, daemon)
    # What was not heard again does not get younger.
    assert [json.loads(line) for line in kept(cut).read_text().splitlines()][1] == first
    # Of what is not configured, nothing is left.
    daemon = cut.start("--link", "9000=other")
    assert ids(daemon, "other") == set()


def test_after_a_crash(web):
    """It is written a while after a change, also if nobody ends nuncio properly."""
    daemon = web.start("--link", "9000=web")
    web.registry.write({"web": web.endpoints()[:2]})
    wait_until(lambda: kept(web).exists() and '"b3"' not in kept(web).read_text(), 30)
    daemon.kill()
    reboot(web)
    web.registry.path.unlink()
    web.start("--link", "9000=web")
    assert spread(web) == {"b1": 150, "b2": 150}


def test_what_the_kernel_holds_is_newer(web):
    daemon = web.start("--link", "9000=web")
    daemon.stop()
    lines = kept(web).read_text().splitlines()
    entry = json.loads(lines[1])
    entry["endpoints"] = entry["endpoints"][:1]
    kept(web).write_text(f"{lines[0]}\n{json.dumps(entry)}\n")
    web.registry.path.unlink()
    with web.monitor() as monitor:
        daemon = web.start("--link", "9000=web", "--link", "9001=web,name=new")
    assert spread(web) == EVEN
    assert not any("b2" in line or "b3" in line for line in monitor.changes())
    # Where it holds nothing, the file is all there is.
    assert spread(web, "127.0.0.1:9001") == {"b1": 300}
    links = daemon.links()
    assert "state file" not in links["web"]["reason"] and "state file" in links["new"]["reason"]


@pytest.mark.parametrize("text, message", [
    ("", "too early"), ('{"version":9,"services":0}\n', "version"), ('{"version":1,"services":2}\n{"x":1}\n', "expected"),
], ids=["empty", "version", "nonsense"])
def test_a_broken_file_is_set_aside(cut, text, message):
    kept(cut).write_text(text)
    daemon = cut.start("--link", "9000=web")
    daemon.wait_for_log(f"warn.*{re.escape(str(kept(cut)))}.*{message}.*broken")
    assert ids(daemon) == set() and daemon.links()["web"]["state"] == "empty"
    assert kept(cut).with_name(kept(cut).name + ".broken").read_text() == text


def test_once_uses_it_and_leaves_it_alone(cut):
    before = kept(cut).read_text()
    done = cut.nuncio("run", "--once", "--registry", cut.registry.uri, "--link", "9000=web", "--link", "9001=none")
    assert done.returncode == 5, done.stderr
    assert spread(cut) == EVEN and kept(cut).read_text() == before
    # So does a dry run.
    assert cut.nuncio("cleanup").returncode == 0
    done = cut.nuncio("check", "--online", "--registry", cut.registry.uri, "--link", "9000=web")
    assert done.returncode == 5 and cut.backends[0].v4 in done.stdout, done
    assert kept(cut).read_text() == before


def test_nothing_is_kept_without_a_state_file(web):
    daemon = web.start("--link", "9000=web", "--state", "none")
    reboot(web, daemon)
    web.registry.path.unlink()
    daemon = web.start("--link", "9000=web", "--state", "none")
    assert ids(daemon) == set() and not kept(web).exists()


@pytest.mark.lab(second_app=True)
def test_two_that_share_a_file_are_told(web):
    daemon = web.start("--link", "9000=web")
    other = web.start("--link", "9000=web", "--state", web.state(), namespace=web.app2)
    for each in (other, daemon):
        each.stop()
    # Who comes second says so.
    assert "another nuncio writes it: each needs a --state of its own" in other.log() + daemon.log()


def test_a_drain_by_hand_holds_after_it(cut):
    cut.state().write_text(json.dumps({"version": 1, "overrides": [
        {"netns": "", "link": "web", "endpoint": "b1", "weight": 0}, {"netns": "", "link": "web", "endpoint": "b2", "weight": 2},
    ]}))
    cut.start("--link", "9000=web")
    assert spread(cut) == {"b2": 200, "b3": 100}


@pytest.fixture
def cluster(lab):
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    return etcd.Cluster(lab)


def test_etcd_is_away_after_a_power_cut(lab, cluster):
    lab.serve()
    for backend in lab.backends:
        cluster.put(f"/services/web/{backend.role}", f"{backend.v4}:8080")
    start = ("--registry", cluster.uri(), "--link", "9000=web")
    daemon = lab.start(*start, registry=False)
    wait_until(lambda: ids(daemon) == {"b1", "b2", "b3"})
    reboot(lab, daemon)
    cluster.members[0].stop()
    daemon = lab.start(*start, registry=False)
    assert spread(lab) == EVEN
    wait_until(lambda: "refused; the endpoints are from the state file" in daemon.links()["web"]["reason"])
    hammer = lab.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    cluster.members[0].start()
    cluster.wait()
    cluster.delete("/services/web/b3")
    wait_until(lambda: ids(daemon) == {"b1", "b2"}, 30)
    assert hammer.stop()["failed"] == 0
    assert spread(lab) == {"b1": 150, "b2": 150}
