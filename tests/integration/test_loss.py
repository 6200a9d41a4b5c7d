# SPDX-License-Identifier: GPL-2.0-or-later
"""An answer of the registry that loses most endpoints at once: min_healthy and loss_hold."""

import json
import re
import signal

import pytest

from waiting import wait_until

HOLDS = "9000=web,loss_hold=1h"


def ids(daemon):
    return set(daemon.endpoints("web"))


def lose(web, daemon, left=1):
    """Leaves some of the three in the registry, and waits until the daemon holds the others."""
    web.registry.write({"web": web.endpoints()[:left]})
    wait_until(lambda: daemon.links()["web"]["state"] == "stale", what="the link to be stale")


def test_the_lost_endpoints_stay(web):
    daemon = web.start("--link", HOLDS)
    lose(web, daemon)
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    link = daemon.links()["web"]
    lost = r"the registry names 1 endpoint where there were 3; the 2 that it lost stay for 3[56]\d\d s more"
    assert re.fullmatch(lost, link["reason"])
    reasons = [endpoint["reason"] for endpoint in link["endpoints"]]
    assert reasons[0] == "serving"
    assert all(re.fullmatch(r"gone from the registry; held for 3[56]\d\d s more", reason) for reason in reasons[1:])

    # Two of the three are enough.
    web.registry.write({"web": web.endpoints()[:2]})
    wait_until(lambda: ids(daemon) == {"b1", "b2"})
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 150, "b2": 150}
    assert daemon.links()["web"]["state"] == "serving" and "reason" not in daemon.links()["web"]
    assert daemon.log().count("min_healthy") == 1 and daemon.log().count("names enough endpoints again") == 1


def test_they_go_when_the_time_is_over(web):
    daemon = web.start("--link", "9000=web,loss_hold=300ms")
    web.registry.write({"web": web.endpoints()[:1]})
    wait_until(lambda: ids(daemon) == {"b1"}, 20)
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}
    assert daemon.links()["web"]["state"] == "serving"
    assert daemon.log().count("min_healthy") == 1 and daemon.log().count("loss_hold is over; the 2 endpoints") == 1


def test_what_is_added_and_changed_is_there_at_once(web):
    daemon = web.start("--link", HOLDS)
    first = web.endpoints()[0] | {"weight": 2}
    web.registry.write({"web": [first]})
    wait_until(lambda: daemon.endpoints("web")["b1"]["weight"] == 2)
    assert web.app.hammer("127.0.0.1:9000", count=400)["by"] == {"b1": 200, "b2": 100, "b3": 100}
    web.backends[0].serve("new", port=8081)
    web.registry.write({"web": [first | {"id": "new", "port": 8081}]})
    wait_until(lambda: "new" in ids(daemon))
    assert web.app.hammer("127.0.0.1:9000", count=600)["by"] == {"b1": 200, "b2": 100, "b3": 100, "new": 200}


def test_half_is_no_mass_loss(web):
    web.registry.write({"web": web.endpoints()[:2]})
    daemon = web.start("--link", HOLDS)
    web.registry.write({"web": web.endpoints()[:1]})
    wait_until(lambda: ids(daemon) == {"b1"})
    assert "min_healthy" not in daemon.log()


def test_losses_one_by_one_add_up(web):
    daemon = web.start("--link", HOLDS)
    web.registry.write({"web": web.endpoints()[:2]})
    wait_until(lambda: ids(daemon) == {"b1", "b2"})
    lose(web, daemon)
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b2": 50}


@pytest.mark.parametrize("held", [False, True], ids=["at-once", "after-a-loss"])
def test_no_endpoint_at_all_is_for_on_empty(web, held):
    daemon = web.start("--link", HOLDS)
    if held:
        lose(web, daemon)
    web.registry.write({"web": []})
    wait_until(lambda: ids(daemon) == set())
    assert web.app.hammer("127.0.0.1:9000", count=3)["errors"] == {"connect: Connection refused": 3}
    assert daemon.links()["web"]["state"] == "empty"


def test_weight_zero_is_the_operators_wish(web):
    daemon = web.start("--link", HOLDS)
    web.registry.write({"web": web.endpoints([1, 0, 0])})
    wait_until(lambda: daemon.endpoints("web")["b3"]["state"] == "draining")
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}
    web.registry.write({"web": web.endpoints()[:1]})
    wait_until(lambda: ids(daemon) == {"b1"})
    assert "min_healthy" not in daemon.log()


def test_a_drain_by_hand_before_the_removal_is_no_loss(web):
    daemon = web.start("--link", HOLDS)
    for endpoint in ("b2", "b3"):
        daemon.ask("drain", "web", endpoint)
    web.registry.write({"web": web.endpoints()[:1]})
    wait_until(lambda: ids(daemon) == {"b1"})
    assert "min_healthy" not in daemon.log()
    # They come back drained, as they went.
    web.registry.write({"web": web.endpoints()})
    wait_until(lambda: ids(daemon) == {"b1", "b2", "b3"})
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}


def test_a_held_endpoint_can_be_drained_by_hand(web):
    daemon = web.start("--link", HOLDS)
    lose(web, daemon)
    assert re.search(r"held for 3[56]\d\d s more; drained by hand; it gets no new", daemon.ask("drain", "web", "b2"))
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b3": 50}
    text = daemon.ask("explain", "web")
    assert re.search(r"the 2 that it lost stay for 3[56]\d\d s more\n  2 of 3 endpoints get new", text), text
    assert re.search(r"b3 at .* gets 50\.0 % .*\n    gone from the registry; held for 3[56]\d\d s more\n", text), text
    assert daemon.links()["web"]["state"] == "stale"
    daemon.ask("undrain", "web", "b2")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


@pytest.mark.parametrize("option", ["loss_hold=0s", "min_healthy=0", "min_healthy=33"])
def test_it_can_be_switched_off(web, option):
    daemon = web.start("--link", f"9000=web,{option}")
    web.registry.write({"web": web.endpoints()[:1]})
    wait_until(lambda: ids(daemon) == {"b1"})
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}


@pytest.mark.parametrize("balance", ["roundrobin", "source"])
def test_a_restart_goes_on_holding(web, balance):
    link = f"{HOLDS},balance={balance}"
    daemon = web.start("--link", link)
    lose(web, daemon)
    before = web.app.table()
    daemon.kill()
    with web.monitor() as monitor:
        daemon = web.start("--link", link)
        assert daemon.links()["web"]["state"] == "stale"
    assert monitor.changes() == []
    assert web.app.table() == before
    web.registry.write({"web": web.endpoints()[:2]})
    wait_until(lambda: ids(daemon) == {"b1", "b2"})


def test_a_loss_while_nuncio_was_away(web):
    web.start("--link", HOLDS).kill()
    web.registry.write({"web": web.endpoints()[:1]})
    daemon = web.start("--link", HOLDS)
    assert ids(daemon) == {"b1", "b2", "b3"} and daemon.links()["web"]["state"] == "stale"
    daemon.kill()
    # --once has nobody who could end it.
    done = web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", HOLDS)
    assert done.returncode == 0, done.stderr
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 100}


@pytest.mark.parametrize("restart", [False, True], ids=["reload", "restart"])
def test_another_service_is_no_loss(web, restart):
    """The link's former endpoints are not those of the service that it leads to now."""
    web.registry.write({"web": web.endpoints(), "other": web.endpoints()[2:]})
    config = web.path / "nuncio.json"

    def configure(service):
        link = {"listen": "9000", "service": service, "loss_hold": "1h"}
        config.write_text(json.dumps({"registry": web.registry.uri, "links": [link]}))

    configure("web")
    daemon = web.start("-c", config, registry=False)
    configure("other")
    if restart:
        daemon.kill()
        daemon = web.start("-c", config, registry=False)
    else:
        daemon.kill(signal.SIGHUP)
    wait_until(lambda: set(daemon.links()) == {"other"} and set(daemon.endpoints("other")) == {"b3"})
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b3": 100}
    assert "min_healthy" not in daemon.log()
