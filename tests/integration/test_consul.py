# SPDX-License-Identifier: GPL-2.0-or-later
"""Consul as a registry: what a stand-in (see consul.py) says and how it fails."""

import json
import re
import urllib.parse

import pytest

import consul
import etcd
from waiting import wait_until

EVEN = {"b1": 100, "b2": 100, "b3": 100}
ALL = {"n1/web", "n2/web", "n3/web"}
# All of a link's endpoints may go here without that being held back as a mass loss.
LINK = ("--link", "9000=web,loss_hold=0s")


@pytest.fixture
def agent(lab):
    made = consul.Agent(lab)
    yield made
    made.stop()


@pytest.fixture
def web(lab, agent):
    """Three backends that serve, on nodes n1, n2 and n3, as service "web" whose ID is its name, as by default."""
    lab.serve()
    for number, backend in enumerate(lab.backends, 1):
        agent.register("web", f"n{number}", backend.v4, 8080)
    return lab


def start(lab, agent, *args, links=LINK, query="wait=5s", **options):
    return lab.start("--registry", agent.uri(query), *links, *args, registry=False, **options)


def ids(daemon, link="web"):
    return set(daemon.endpoints(link))


def wait_for(daemon, expected, link="web", timeout=15):
    wait_until(lambda: ids(daemon, link) == set(expected), timeout, lambda: f"{expected}, not {ids(daemon, link)}")


def registry(daemon):
    return daemon.status()["registries"][0]


def state(daemon, link="web"):
    return daemon.links()[link]["state"]


def wait_for_error(daemon, text, timeout=15):
    wait_until(lambda: text in registry(daemon).get("error", ""), timeout, lambda: str(registry(daemon)))


def wait_for_good(daemon, timeout=30):
    """Good, and the link as well; a backoff may have to end first."""
    wait_until(lambda: registry(daemon)["connected"] and "error" not in registry(daemon), timeout,
               lambda: str(registry(daemon)))
    assert state(daemon) == "serving"


def check(lab, expected, target="127.0.0.1:9000"):
    result = lab.app.hammer(target, count=sum(expected.values()))
    assert result["by"] == expected, result


def wait_for_questions(agent, count):
    """Returns after so many more questions have been asked."""
    goal = len(agent.questions) + count
    wait_until(lambda: len(agent.questions) >= goal, 20, lambda: f"{count} more questions, {agent.questions[-3:]}")


def test_instances_come_and_go(web, agent):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    check(web, EVEN)
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"})
    check(web, {"b1": 50, "b2": 50})
    agent.register("web", "n3", web.backends[2].v4, 8080, weights={"Passing": 2, "Warning": 1})
    wait_for(daemon, ALL)
    check(web, {"b1": 25, "b2": 25, "b3": 50})
    agent.deregister("web")
    wait_for(daemon, set())
    assert state(daemon) == "empty" and not web.app.reaches("127.0.0.1:9000")
    status = registry(daemon)
    assert status["connected"] and status["revision"] == str(agent.index) and "error" not in status
    # One that has never been there is empty, and no error.
    agent.register("web", "n1", web.backends[0].v4, 8080)
    wait_for(daemon, {"n1/web"})


def test_a_burst_is_few_transactions(web, agent):
    """50 changes come in one moment: the first of them is an answer, and all others are the next."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    daemon.kill(19)  # SIGSTOP
    for weight in range(2, 52):
        agent.register("web", "n1", web.backends[0].v4, 8080, weights={"Passing": weight, "Warning": 1})
    daemon.kill(18)  # SIGCONT
    wait_until(lambda: daemon.endpoints("web")["n1/web"]["weight"] == 51)
    assert 0 < len(re.findall("link web: n1/web", daemon.log())) <= 2, daemon.log()


def test_nothing_after_a_restore_is_held(web, agent):
    """Consul's servers lost their data, which their index tells."""
    daemon = start(web, agent, links=("--link", "9000=web,loss_hold=1h"))
    wait_for(daemon, ALL)
    agent.restore(empty=True)
    wait_until(lambda: "the 3 that it lost stay" in daemon.links()["web"].get("reason", ""))
    check(web, EVEN)


def test_an_instance_without_an_address_has_its_nodes(web, agent):
    agent.deregister("web")
    agent.register("web", "n1", "", 8080, node_address=web.backends[0].v4, id="web-1")
    agent.register("web", "n2", web.backends[1].v6, 8080, id="web-2")
    daemon = start(web, agent)
    wait_for(daemon, {"n1/web-1", "n2/web-2"})
    endpoints = daemon.endpoints("web")
    assert endpoints["n1/web-1"]["address"] == f"{web.backends[0].v4}:8080"
    assert endpoints["n2/web-2"]["address"] == f"[{web.backends[1].v6}]:8080"


def test_health(web, agent):
    """Critical ones are gone, those in a warning have another weight, those in maintenance drain."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    agent.check("web", "n1", "service", "critical")
    wait_for(daemon, {"n2/web", "n3/web"})
    check(web, {"b2": 50, "b3": 50})
    agent.check("web", "n1", "service", "warning")
    wait_for(daemon, ALL)
    check(web, EVEN)
    agent.check("web", "n1", "service", "passing")
    agent.check("web", "n2", consul.SERF, "critical")  # its node has failed
    wait_for(daemon, {"n1/web", "n3/web"})
    agent.check("web", "n2", consul.SERF, "passing")
    wait_for(daemon, ALL)
    for maintenance in ("_service_maintenance:web", "_node_maintenance"):
        agent.check("web", "n3", maintenance, "critical")
        wait_until(lambda: daemon.endpoints("web")["n3/web"]["state"] == "draining")
        check(web, {"b1": 50, "b2": 50})
        agent.check("web", "n3", maintenance, None)
        wait_until(lambda: daemon.endpoints("web")["n3/web"]["state"] == "up")
    agent.register("web", "n3", web.backends[2].v4, 8080, weights={"Passing": 1, "Warning": 0})
    agent.check("web", "n3", "service", "warning")
    wait_until(lambda: daemon.endpoints("web")["n3/web"]["state"] == "draining")


def test_connections_live_through_maintenance(web, agent):
    daemon = start(web, agent, links=("--link", "9000=web,on_remove=reset,loss_hold=0s"))
    wait_for(daemon, ALL)
    agent.deregister("web", "n2")
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web"})
    held = web.app.socket()
    held.connect(("127.0.0.1", 9000))
    agent.check("web", "n1", "_service_maintenance:web", "critical")
    wait_until(lambda: daemon.endpoints("web")["n1/web"]["state"] == "draining")
    held.sendall(b"x\n")
    assert held.recv(64)


def test_nothing_new_changes_nothing(web, agent):
    """Time that is over, an index that moves, a check's other output: nothing is sent to the kernel."""
    daemon = start(web, agent, query="wait=1s")
    wait_for(daemon, ALL)
    with web.monitor() as monitor:
        wait_for_questions(agent, 2)
        agent.touch("web")
        wait_until(lambda: registry(daemon)["revision"] == str(agent.index))
        agent.register("web", "n1", web.backends[0].v4, 8080)
        wait_until(lambda: registry(daemon)["revision"] == str(agent.index))
    assert monitor.changes() == []


def test_questions_wait(web, agent):
    """The first does not, the others do, with the index of the answer before; and what is asked is all instances."""
    daemon = start(web, agent, query="wait=1s")
    wait_for(daemon, ALL)
    wait_for_questions(agent, 2)
    questions = [urllib.parse.parse_qs(urllib.parse.urlsplit(path).query) for path in agent.questions]
    assert questions[0]["index"] == ["0"]
    assert {question["index"][0] for question in questions[1:]} == {str(agent.indices["web"])}
    assert all(question["wait"] == ["1s"] and "passing" not in question for question in questions)


@pytest.mark.slow
def test_an_index_that_moves_all_the_time(web, agent):
    """It is not asked as often as the index moves. Then a change is seen all the same."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    moves = 0
    before = len(agent.questions)
    while moves < 200 or len(agent.questions) < before + 11:
        agent.touch("web")
        moves += 1
        wait_until(lambda: registry(daemon)["connected"])
    assert len(agent.questions) - before < moves / 2, f"{len(agent.questions) - before} questions, {moves} moves"
    agent.deregister("web", "n1")
    wait_for(daemon, {"n2/web", "n3/web"})


def test_an_index_that_goes_back(web, agent):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    for _ in range(5):
        agent.touch("web")
    wait_until(lambda: registry(daemon)["revision"] == str(agent.index))
    agent.restore()
    wait_until(lambda: registry(daemon)["revision"] == "2")
    agent.deregister("web", "n3")  # with an index below those that there were
    wait_for(daemon, {"n1/web", "n2/web"})
    assert state(daemon) == "serving"


@pytest.mark.parametrize("index", [None, "0", "nonsense"])
def test_an_index_that_says_nothing(web, agent, index):
    """0 would not wait; without one it is not Consul, as when a proxy answers in its place."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    agent.change(headers={"X-Consul-Index": index})
    agent.deregister("web")
    if index == "0":
        wait_for(daemon, set())
        wait_until(lambda: any("index=1&" in question for question in agent.questions))
    else:
        wait_for_error(daemon, "no X-Consul-Index")
        assert ids(daemon) == ALL and state(daemon) == "stale"


def test_without_a_leader(web, agent):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    since = len(daemon.log())
    agent.lose_leader()
    wait_for_error(daemon, "No cluster leader, HTTP 500")
    assert state(daemon) == "stale" and not registry(daemon)["connected"] and ids(daemon) == ALL
    agent.elect_leader()
    wait_for_good(daemon)
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"})
    hammer.wait_for_more()
    assert hammer.stop()["failed"] == 0
    log = daemon.log(since)
    assert len(re.findall(r" warning ", log)) == 1, log
    assert len(re.findall(r"notice .*answers again", log)) == 1, log


def test_an_answer_that_knows_no_leader(web, agent):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    agent.change(headers={"X-Consul-KnownLeader": "false"})
    agent.deregister("web")
    wait_for_error(daemon, "no leader")
    assert ids(daemon) == ALL and state(daemon) == "stale"


def test_stale_answers_do_without_a_leader(web, agent):
    """They are used; what is old about them is seen in the age."""
    daemon = start(web, agent, query="wait=1s&stale=yes")
    wait_for(daemon, ALL)
    agent.lose_leader()
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"})
    wait_for_questions(agent, 2)
    wait_until(lambda: registry(daemon)["last_success_seconds"] > 3, 20)
    assert registry(daemon)["connected"] and state(daemon) == "serving"
    agent.elect_leader()
    wait_until(lambda: registry(daemon)["last_success_seconds"] < 2)


def test_tokens(web, agent):
    """One that is unknown, one that may read nothing, one that may: only the last can say that there is nothing."""
    token = web.path / "token"
    token.write_text("wrong\n")
    config = web.path / "nuncio.json"
    config.write_text(json.dumps({
        "registries": {"main": {"uri": agent.uri(), "token_file": str(token)}}, "registry": "main",
        "links": [{"listen": "9000", "service": "web", "loss_hold": "0s"}],
    }))
    agent.change(tokens={"reader": ["web"], "other": ["db"]})
    daemon = web.start("-c", config, registry=False)
    wait_for_error(daemon, "ACL not found, HTTP 403")
    token.write_text("reader\n")
    wait_for(daemon, ALL, timeout=30)
    check(web, EVEN)
    wait_for_good(daemon)
    token.write_text("other\n")
    agent.touch("web")  # whoever waits does so with the old token
    wait_for_error(daemon, "ACLs hide instances")
    assert ids(daemon) == ALL and state(daemon) == "stale"
    check(web, EVEN)
    token.unlink()
    wait_for_error(daemon, f"{token}: No such file", 30)
    token.write_text("reader\n")
    agent.deregister("web")
    wait_for(daemon, set(), timeout=60)
    assert state(daemon) == "empty"


def test_the_environment(web, agent):
    agent.change(tokens={"secret": ["web"]})
    environment = ("env", f"CONSUL_HTTP_ADDR=http://{agent.address}", "CONSUL_HTTP_TOKEN=secret")
    daemon = web.start("--registry", "consul:///?wait=5s", *LINK, registry=False, prefix=environment)
    wait_for(daemon, ALL)
    assert registry(daemon)["uri"] == agent.uri()


def test_instances_that_acls_hide_in_part(web, agent):
    agent.change(headers={"X-Consul-Results-Filtered-By-ACLs": "true"})
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    for _ in range(3):
        agent.touch("web")
        wait_until(lambda: registry(daemon)["revision"] == str(agent.index))
    assert len(re.findall("ACLs hide some", daemon.log())) == 1, daemon.log()


def test_tags_and_filters_and_datacenters(web, agent):
    agent.register("web", "n1", web.backends[0].v4, 8080, tags=["v2", "a b&c"])
    agent.register("web", "n2", web.backends[1].v4, 8080, tags=["v2"])
    links = ("--link", "9000=web")
    daemon = start(web, agent, links=links, query="dc=dc1&tag=v2")
    wait_for(daemon, {"n1/web", "n2/web"})
    daemon.stop()
    daemon = start(web, agent, links=links, query="tag=v2&tag=a%20b%26c")
    wait_for(daemon, {"n1/web"})
    daemon.stop()
    daemon = start(web, agent, links=links, query="dc=dc9")
    wait_for_error(daemon, "No path to datacenter, HTTP 500")
    assert ids(daemon) == {"n1/web"}
    daemon.stop()
    daemon = start(web, agent, links=links, query="filter=nonsense")
    wait_for_error(daemon, "boolean expression evaluator, HTTP 400")


def test_bad_instances_are_skipped(web, agent):
    agent.register("web", "n4", web.backends[0].v4, 0)
    agent.register("web", "n5", "10.77.0.300", 80)
    agent.register("web", "n6", web.backends[0].v4, 8080)  # as n1
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    assert registry(daemon)["skipped_records"] == 3
    agent.touch("web")
    wait_until(lambda: registry(daemon)["revision"] == str(agent.index))
    for instance in ("n4/web: Port 0", 'n5/web: host "10.77.0.300"', "n6/web: .*has this id or address"):
        assert len(re.findall(f"instance {instance}.*skipped", daemon.log())) == 1, daemon.log()
    for number in range(1, 7):
        agent.register("web", f"n{number}", "nonsense!", 80)
    wait_until(lambda: state(daemon) == "stale")
    check(web, EVEN)


def test_an_agent_that_is_restarted(web, agent):
    """Whoever waited is lost, and asks again: nothing is said, nothing happens."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    with web.monitor() as monitor:
        agent.stop()
        agent.start()
        wait_for_questions(agent, 2)
    assert monitor.changes() == []
    assert state(daemon) == "serving" and not re.search("warning|answers again", daemon.log()), daemon.log()
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"})


def test_an_agent_that_comes_back_with_less(web, agent):
    """Its indices are lower: one that waited for the next of the old ones would not hear of it."""
    daemon = start(web, agent, query="wait=10m")
    wait_for(daemon, ALL)
    agent.stop()
    agent.deregister("web", "n3")
    agent.restore()
    agent.start()
    wait_for(daemon, {"n1/web", "n2/web"})
    wait_until(lambda: registry(daemon)["revision"] == "2")
    assert state(daemon) == "serving"


def test_one_refusal_is_no_outage(web, agent):
    """It is asked again before anything is said."""
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    agent.change(refusals=1)
    agent.touch("web")
    wait_until(lambda: agent.refusals == 0)
    wait_for_questions(agent, 2)
    assert state(daemon) == "serving" and not re.search("warning|answers again", daemon.log()), daemon.log()


def test_an_outage_under_load(web, agent):
    agent.register("db", "n1", web.backends[0].v4, 8080)
    daemon = start(web, agent, links=(*LINK, "--link", "9001=db"))
    wait_for(daemon, ALL)
    wait_for(daemon, {"n1/db"}, "db")
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    since = len(daemon.log())
    agent.stop()
    wait_for_error(daemon, "Connection refused")
    wait_until(lambda: state(daemon) == "stale" and state(daemon, "db") == "stale")
    assert not registry(daemon)["connected"] and ids(daemon) == ALL
    agent.deregister("web", "n3")
    hammer.wait_for_more()
    agent.start()
    wait_for(daemon, {"n1/web", "n2/web"}, timeout=30)
    wait_for_good(daemon)
    hammer.wait_for_more()
    assert hammer.stop()["failed"] == 0
    log = daemon.log(since)
    assert len(re.findall(r" warning ", log)) == 1, log
    assert len(re.findall(r"notice .*answers again", log)) == 1, log


def test_a_start_without_consul(web, agent):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    daemon.kill()
    agent.stop()
    with web.monitor() as monitor:
        daemon = start(web, agent)
        wait_for_error(daemon, "Connection refused")
    assert monitor.changes() == []
    assert state(daemon) == "stale"
    check(web, EVEN)
    agent.start()
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"}, timeout=30)
    assert state(daemon) == "serving"


@pytest.mark.parametrize("trouble, text", [
    ({"resets": True}, "reset"),
    ({"refuses": (429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n")},
     "please rate limit your calls, HTTP 429"),
    ({"refuses": (403, "Permission denied: token lacks permission 'service:read' on \"web\"")}, "HTTP 403"),
    ({"refuses": (502, "")}, "HTTP 502"),
], ids=["reset", "429", "403", "502"])
def test_troubles_that_end(web, agent, trouble, text):
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    with web.monitor() as monitor:
        agent.change(**trouble)
        wait_for_error(daemon, text)
        assert state(daemon) == "stale" and ids(daemon) == ALL
        check(web, EVEN)
        agent.change(resets=False, refuses=None)
        wait_for_good(daemon)
    assert monitor.changes() == []


def test_slow_answers_are_answers(web, agent):
    agent.change(delay=1.5)
    daemon = start(web, agent)
    wait_for(daemon, ALL)
    agent.deregister("web", "n3")
    wait_for(daemon, {"n1/web", "n2/web"})
    assert "warning" not in daemon.log()


def test_wait_may_take_longer_than_asked(web, agent):
    """Consul adds up to a sixteenth of it: no error."""
    daemon = start(web, agent, query="wait=1s")
    wait_for(daemon, ALL)
    wait_for_questions(agent, 5)
    assert state(daemon) == "serving" and "warning" not in daemon.log()


@pytest.mark.slow
def test_an_agent_that_hangs(web, agent):
    """Connections stand, and nothing comes any more: its time is over, and it is an error."""
    daemon = start(web, agent, query="wait=1s")
    wait_for(daemon, ALL)
    agent.change(hangs=True)
    wait_for_error(daemon, "no answer in time", 60)
    assert state(daemon) == "stale" and ids(daemon) == ALL
    agent.change(hangs=False)
    wait_for_good(daemon)


@pytest.mark.slow
def test_an_agent_that_is_cut_off(web, agent):
    """Nobody closes the connection; TCP notices, long before the question's time is over."""
    daemon = start(web, agent, query="wait=10m")
    wait_for(daemon, ALL)
    web.bridge.ip("link set consul down")
    wait_until(lambda: not registry(daemon)["connected"], 60)
    assert state(daemon) == "stale" and ids(daemon) == ALL
    web.bridge.ip("link set consul up")
    wait_until(lambda: registry(daemon)["connected"], 60)


def test_once_waits_for_the_answer(web, agent):
    done = web.nuncio("run", "--once", "--registry", agent.uri(), *LINK)
    assert done.returncode == 0, done.stderr
    check(web, EVEN)
    agent.stop()
    done = web.nuncio("run", "--once", "--registry", agent.uri(), *LINK)
    assert done.returncode == 5, done.stderr
    check(web, EVEN)


def test_many_services(lab, agent):
    """Each has its own question; and one that its token hides is no trouble of the others."""
    lab.serve()
    names = [f"s{number}" for number in range(50)]
    for name in names:
        agent.register(name, "n1", lab.backends[0].v4, 8080)
    agent.change(tokens={"reader": names[1:]})
    links = [part for number, name in enumerate(names) for part in ("--link", f"{9000 + number}={name}")]
    daemon = lab.start("--registry", agent.uri(), *links, registry=False, prefix=("env", "CONSUL_HTTP_TOKEN=reader"))
    wait_until(lambda: all(state == "serving" for state in
                           [link["state"] for name, link in daemon.links().items() if name != "s0"]), 20)
    wait_for_error(daemon, "ACLs hide")
    assert registry(daemon)["connected"]
    agent.register("s49", "n2", lab.backends[1].v4, 8080)
    wait_for(daemon, {"n1/s49", "n2/s49"}, "s49")
    check(lab, {"b1": 50, "b2": 50}, "127.0.0.1:9049")


def test_tls_with_client_certificates(lab):
    tls = etcd.Tls(lab.path)
    agent = consul.Agent(lab, tls=tls)
    lab.serve()
    agent.register("web", "n1", lab.backends[0].v4, 8080)
    (lab.path / "copy-ca.pem").write_text((lab.path / "client.pem").read_text())
    options = {"ca": str(lab.path / "copy-ca.pem"), "cert": str(tls.cert), "key": str(tls.key)}
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({
        "registries": {"main": {"uri": agent.uri(), **options}}, "registry": "main",
        "links": [{"listen": "9000", "service": "web"}],
    }))
    daemon = lab.start("-c", config, registry=False)
    wait_for_error(daemon, "certificate")
    (lab.path / "copy-ca.pem").write_text(tls.ca.read_text())
    wait_for(daemon, {"n1/web"}, timeout=30)
    agent.register("web", "n2", lab.backends[1].v4, 8080)
    wait_for(daemon, {"n1/web", "n2/web"})
    check(lab, {"b1": 50, "b2": 50})
    agent.stop()


@pytest.mark.slow
def test_host_names_in_addresses(web, agent):
    hosts = web.path / "hosts"
    hosts.write_text(f"{web.backends[0].v4} core-01\n")
    agent.deregister("web")
    agent.register("web", "n1", "core-01", 8080)
    agent.register("web", "n2", "", 8080, node_address="core-02")
    script = f"mount --bind {hosts} /etc/hosts && exec \"$@\""
    daemon = start(web, agent, prefix=("unshare", "-m", "sh", "-c", script, "sh"))
    wait_for(daemon, {"n1/web"})
    assert daemon.endpoints("web")["n1/web"]["address"] == f"{web.backends[0].v4}:8080"
    assert registry(daemon)["skipped_records"] == 1
    hosts.write_text(f"{web.backends[0].v4} core-01\n{web.backends[1].v4} core-02\n")
    wait_for(daemon, {"n1/web", "n2/web"}, timeout=30)
    check(web, {"b1": 50, "b2": 50})
