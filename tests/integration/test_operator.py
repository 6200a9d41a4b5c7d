# SPDX-License-Identifier: GPL-2.0-or-later
"""What operators and start scripts say: drain, undrain, weight, wait, explain; and what of it outlasts the daemon."""

import contextlib
import json
import re
import signal
import subprocess

import pytest

from daemon import command
from waiting import scaled, wait_until

USAGE, FAILED, REGISTRY = 2, 1, 5
EVEN = {"b1": 100, "b2": 100, "b3": 100}
WITHOUT_B1 = {"b2": 150, "b3": 150}


def ask(daemon, *args):
    """A command to this daemon that may fail."""
    return subprocess.run(command(*args, "--control", daemon.control), capture_output=True, text=True,
                          timeout=scaled(20))


def spread(lab, target="127.0.0.1:9000", **options):
    return lab.app.hammer(target, count=300, **options)["by"]


def configure(lab, *links, **namespaces):
    """A configuration file with links of the own namespace, and of others."""
    config = lab.path / "nuncio.json"
    ambassadors = [{"netns": str(getattr(lab, role)), "links": links} for role, links in namespaces.items()]
    config.write_text(json.dumps({"registry": lab.registry.uri, "links": links, "ambassadors": ambassadors}))
    return config


WEB = {"listen": "9000", "service": "web"}
DB = {"listen": "9001", "service": "web", "name": "db"}


# Weights by hand

@pytest.mark.parametrize("endpoint", ["b1", "10.77.0.11:8080"])
def test_drain_and_undrain(web, endpoint):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=other")
    said = daemon.ask("drain", "web", endpoint)
    assert re.search(r"b1 \(10\.77\.0\.11:8080\): drained by hand; it gets no new connections", said)
    assert spread(web) == WITHOUT_B1
    assert spread(web, "127.0.0.1:9001") == EVEN
    b1 = daemon.endpoints("web")["b1"]
    assert (b1["state"], b1["reason"], b1["override"], b1["weight"]) == ("draining", "drained by hand", 0, 1)
    assert "override" not in daemon.endpoints("web")["b2"] and "override" not in daemon.endpoints("other")["b1"]
    assert "33.3 % of new connections" in daemon.ask("undrain", "web", endpoint)
    assert spread(web) == EVEN
    assert "override" not in daemon.endpoints("web")["b1"]
    with web.monitor() as monitor:
        daemon.ask("undrain", "web", endpoint)
    assert monitor.lines == []


def test_drain_under_traffic(lab):
    """Once the command has answered, no new connection goes there; those that are open go on."""
    for backend in lab.backends:
        backend.serve()
        backend.serve("echo", port=8081, options=["--echo"])
    lab.registry.write({"web": lab.endpoints(), "echo": lab.endpoints(port=8081)})
    daemon = lab.start("--link", "9000=web", "--link", "9001=echo")
    connections = [lab.app.socket() for _ in range(3)]
    for connection in connections:
        connection.connect(("127.0.0.1", 9001))
    hammer = lab.app.start_hammer("127.0.0.1:9000", concurrency=4)
    hammer.wait_for_more()
    for link in ("web", "echo"):
        daemon.ask("drain", link, "b1")
    before = daemon.endpoints("web")["b1"]["connections"]
    hammer.wait_for_more(1000)
    assert daemon.endpoints("web")["b1"]["connections"] == before
    for connection in connections:
        connection.sendall(b"still there")
        assert connection.recv(100) == b"still there"
    daemon.ask("undrain", "web", "b1")
    wait_until(lambda: daemon.endpoints("web")["b1"]["connections"] > before)
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]


def test_a_weight_changes_the_spread(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints([2, 2, 2])})
    daemon = lab.start("--link", "9000=web")
    said = daemon.ask("weight", "web", "b1", "8")
    assert "weight 8 by hand (registry: 2)" in said and "66.7 %" in said
    assert spread(lab) == {"b1": 200, "b2": 50, "b3": 50}
    b1 = daemon.endpoints("web")["b1"]
    assert (b1["state"], b1["override"], b1["weight"]) == ("up", 8, 2)
    assert b1["reason"] == "weight 8 by hand (registry: 2)"
    assert "8  up" in daemon.ask("status")
    # The registry may say what it wants, meanwhile.
    with daemon.logs(r"link web:.*b1\(weight 2->1\)"):
        lab.registry.write({"web": lab.endpoints([1, 4, 4])})
    assert spread(lab) == {"b1": 150, "b2": 75, "b3": 75}
    assert "registry: 1" in daemon.endpoints("web")["b1"]["reason"]
    daemon.ask("weight", "web", "b1", "0")
    assert daemon.endpoints("web")["b1"]["reason"] == "drained by hand"
    daemon.ask("undrain", "web", "b1")
    assert daemon.endpoints("web")["b1"]["slots"] == 1 and daemon.links()["web"]["slots"] == 9


def test_a_weight_by_hand_brings_a_drained_endpoint_back(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints([1, 0, 1])})
    daemon = lab.start("--link", "9000=web")
    assert spread(lab) == {"b1": 150, "b3": 150}
    daemon.ask("weight", "web", "b2", "1")
    assert spread(lab) == EVEN


def test_it_outlasts_the_endpoints_absence(web):
    daemon = web.start("--link", "9000=web")
    daemon.ask("drain", "web", "b1")
    with daemon.logs(r"link web:.* -b1"):
        web.registry.write({"web": web.endpoints()[1:]})
    with daemon.logs(r"link web:.* \+b1"):
        web.registry.write({"web": web.endpoints()})
    assert spread(web) == WITHOUT_B1
    with daemon.logs(r"link web:.* -b1"):
        web.registry.write({"web": web.endpoints()[1:]})
    assert "not there now" in daemon.ask("undrain", "web", "b1")
    with daemon.logs(r"link web:.* \+b1"):
        web.registry.write({"web": web.endpoints()})
    assert spread(web) == EVEN


@pytest.mark.parametrize("on_empty, state, word", [("reject", "empty", "refused"), ("hold", "holding", "wait")])
def test_all_drained_is_an_empty_link(web, on_empty, state, word):
    daemon = web.start("--link", f"9000=web,on_empty={on_empty},hold_for=1h")
    daemon.ask("drain", "web", "b1")
    daemon.ask("drain", "web", "b2")
    said = daemon.ask("drain", "web", "b3")
    assert "all endpoints are drained by hand" in said and word in said
    link = daemon.links()["web"]
    assert (link["state"], link["reason"]) == (state, "all endpoints are drained by hand")
    if on_empty == "reject":
        assert web.app.hammer("127.0.0.1:9000", count=3)["errors"] == {"connect: Connection refused": 3}
    daemon.ask("undrain", "web", "b2")
    assert spread(web) == {"b2": 300}


def test_all_that_are_kept_are_drained(web):
    """They stay known, and come back when that is taken back, although the registry names none."""
    daemon = web.start("--link", "9000=web,on_empty=keep")
    with daemon.logs("the last known ones stay"):
        web.registry.write({"web": []})
    for endpoint in ("b1", "b2", "b3"):
        daemon.ask("drain", "web", endpoint)
    assert daemon.links()["web"]["reason"] == "all endpoints are drained by hand"
    daemon.ask("undrain", "web", "b2")
    assert spread(web) == {"b2": 300}
    assert daemon.links()["web"]["state"] == "stale"


def test_the_next_tier_takes_over(web):
    endpoints = web.endpoints()
    web.registry.write({"web": [endpoints[0], endpoints[1] | {"priority": 5}]})
    daemon = web.start("--link", "9000=web")
    assert daemon.endpoints("web")["b2"]["reason"] == "standby: endpoints of priority 0 serve"
    daemon.ask("weight", "web", "b2", "3")
    assert daemon.endpoints("web")["b2"]["reason"] == \
        "standby: endpoints of priority 0 serve; weight 3 by hand (registry: 1)"
    daemon.ask("drain", "web", "b1")
    assert spread(web) == {"b2": 300}


@pytest.mark.parametrize("args, message", [
    (["drain", "wep", "b1"], r'no link named "wep"; there are: web, db'),
    (["drain", "web", "b9"], r'web has no endpoint "b9"; it has: b1, b2, b3'),
    (["undrain", "web", "10.77.0.11:1"], r"it has: b1, b2, b3"),
    (["weight", "web", "b1", "65536"], r"65536.*0 to 65535"),
    (["weight", "web", "b1", "-1"], r"-1|no such option"),
    (["weight", "web", "b1"], r"LINK ENDPOINT N"),
    (["drain", "web"], r"LINK ENDPOINT"),
    (["drain", "web", "b1", "b2"], r"b2.*too many"),
    (["drain", "web", "b1", "--netns", "nowhere"], r'"web" in namespace nowhere; there are: none'),
    (["wait"], r"LINK"),
    (["wait", "web", "wep"], r'no link named "wep"'),
    (["wait", "web", "--timeout", "soon"], r"soon.*ms, s, m or h"),
    (["explain", "wep"], r'no link named "wep"; there are: web, db'),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_is_refused(web, args, message):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=db")
    with web.monitor() as monitor:
        done = ask(daemon, *args)
    assert done.returncode == USAGE and re.search(message, done.stderr), done.stderr
    assert monitor.lines == [] and not web.state().exists()


@pytest.mark.parametrize("request_line", [
    {"command": "override"}, {"command": "override", "link": "web", "endpoint": "b1"},
    {"command": "override", "link": 1, "endpoint": [], "weight": None},
    {"command": "override", "link": "web", "endpoint": "b1", "weight": "1"},
    {"command": "override", "link": "web", "endpoint": "b1", "weight": 1.5},
    {"command": "override", "link": "web", "endpoint": "b1", "weight": -1},
    {"command": "wait", "links": [1]}, {"command": "explain"},
], ids=json.dumps)
def test_nonsense_is_answered(web, request_line):
    daemon = web.start("--link", "9000=web")
    with contextlib.closing(web.app.socket(1)) as peer:
        peer.connect(str(daemon.control))
        peer.sendall(json.dumps(request_line).encode() + b"\n")
        assert "error" in json.loads(peer.makefile().readline())
    assert daemon.endpoints("web")["b1"]["reason"] == "serving"


@pytest.mark.lab(second_app=True)
def test_several_namespaces(web):
    config = configure(web, app=[WEB], app2=[WEB, DB])
    daemon = web.start("-c", config, registry=False, namespace=None)
    done = ask(daemon, "drain", "web", "b1")
    assert done.returncode == USAGE and str(web.app) in done.stderr and str(web.app2) in done.stderr
    daemon.ask("drain", "web", "b1", "--netns", str(web.app2.path))
    assert web.app2.hammer("127.0.0.1:9000", count=300)["by"] == WITHOUT_B1
    assert spread(web) == EVEN
    daemon.ask("drain", "db", "b2")
    assert web.app2.hammer("127.0.0.1:9001", count=300)["by"] == {"b1": 150, "b3": 150}
    assert daemon.ask("explain", "web").count("link web in namespace") == 2
    assert daemon.ask("explain", "web", "--netns", str(web.app)).count("drained") == 0
    daemon.ask("wait", "web", "db", "--timeout", "10s")
    web.registry.write({"web": []})
    wait_until(lambda: daemon.links(1)["db"]["state"] == "empty")
    done = ask(daemon, "wait", "web", "--timeout", "0s", "--netns", str(web.app))
    assert done.returncode == REGISTRY and str(web.app) in done.stderr and str(web.app2) not in done.stderr


def test_a_namespace_that_is_away(web):
    """What cannot be in force yet is kept, is an error, and is in force when the namespace is back."""
    app = web.app
    daemon = web.start("--netns", app.name, "--link", "9000=web", namespace=None)
    before = len(daemon.log())
    subprocess.run(["ip", "netns", "del", app.name], check=True)
    daemon.wait_for_log("there is no network namespace", before, timeout=30)
    done = ask(daemon, "drain", "web", "b1")
    assert done.returncode == FAILED and "there is no network namespace" in done.stderr, done.stderr
    explained = daemon.ask("explain", "web")
    assert "there is no network namespace" in explained and "b1 at 10.77.0.11:8080 gets no new" in explained
    done = ask(daemon, "wait", "web", "--timeout", "100ms")
    assert done.returncode == REGISTRY and "there is no network namespace" in done.stderr
    wait_until(lambda: "app@" not in web.bridge.run("ip", "link", "show", "type", "veth"), 10)
    subprocess.run(["ip", "netns", "add", app.name], check=True)
    web.bridge.ip(f"link add app type veth peer name eth0 netns {app}", "link set app master br0 up")
    app.ip("link set lo up", f"addr add {app.v4}/24 dev eth0", "link set eth0 up")
    daemon.ask("wait", "web", "--timeout", f"{int(scaled(15))}s")
    wait_until(lambda: app.reaches("127.0.0.1:9000"), 10)
    assert spread(web) == WITHOUT_B1


# What outlasts the daemon

@pytest.mark.parametrize("balance", ["roundrobin", "source"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_it(web, end, balance):
    links = ["--link", "9000=web", "--link", f"9001=web,name=other,balance={balance}"]
    daemon = web.start(*links)
    daemon.ask("drain", "web", "b1")
    daemon.ask("weight", "other", "b2", "5")
    daemon.kill(end)
    daemon.wait()
    with web.monitor() as monitor:
        daemon = web.start(*links)
    assert monitor.changes() == []
    assert spread(web) == WITHOUT_B1
    assert daemon.endpoints("other")["b2"]["reason"] == "weight 5 by hand (registry: 1)"
    daemon.ask("undrain", "web", "b1")
    assert spread(web) == EVEN
    assert web.state().stat().st_mode & 0o777 == 0o600


def test_a_restart_without_the_registry_keeps_it(web):
    """Nothing changes in the kernel; a drain is possible, and the rest as soon as the registry answers."""
    web.registry.write({"web": web.endpoints([100, 100, 100])})
    daemon = web.start("--link", "9000=web")
    daemon.ask("weight", "web", "b1", "50")
    assert spread(web) == {"b1": 60, "b2": 120, "b3": 120}
    daemon.kill()
    web.registry.path.unlink()
    with web.monitor() as monitor:
        daemon = web.start("--link", "9000=web")
    assert monitor.changes() == []
    daemon.ask("drain", "web", "b3")
    assert spread(web) == {"b1": 100, "b2": 200}
    daemon.ask("undrain", "web", "b3")
    assert spread(web) == {"b1": 60, "b2": 120, "b3": 120}
    assert "as soon as the registry names it" in daemon.ask("weight", "web", "b2", "300")
    web.registry.write({"web": web.endpoints([100, 100, 100])})
    wait_until(lambda: daemon.endpoints("web")["b2"]["slots"] == 6)
    assert web.app.hammer("127.0.0.1:9000", count=270)["by"] == {"b1": 30, "b2": 180, "b3": 60}


@pytest.mark.parametrize("balance", ["roundrobin", "source"])
def test_a_drain_while_the_registry_is_away_can_be_taken_back(web, balance):
    """One that was drained before the start comes back with the answer: its weight is not in the kernel."""
    link = f"9000=web,balance={balance}"
    daemon = web.start("--link", link)
    daemon.ask("drain", "web", "b1")
    daemon.kill()
    web.registry.path.unlink()
    with web.monitor() as monitor:
        daemon = web.start("--link", link)
    assert monitor.changes() == []
    assert daemon.endpoints("web")["b1"]["reason"] == "drained by hand"
    daemon.ask("drain", "web", "b2")
    assert daemon.endpoints("web")["b2"]["slots"] == 0 < daemon.endpoints("web")["b3"]["slots"]
    daemon.ask("undrain", "web", "b2")
    assert daemon.endpoints("web")["b2"]["slots"] > 0
    assert "the registry has not named it since" in daemon.ask("undrain", "web", "b1")
    web.registry.write({"web": web.endpoints()})
    wait_until(lambda: daemon.endpoints("web")["b1"]["slots"] > 0)


def test_once_honours_it(web):
    daemon = web.start("--link", "9000=web")
    daemon.ask("drain", "web", "b1")
    daemon.stop()
    with web.monitor() as monitor:
        done = web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", "9000=web")
    assert done.returncode == 0 and monitor.changes() == []
    assert spread(web) == WITHOUT_B1


def test_a_reload_keeps_those_of_links_that_stay(web):
    daemon = web.start("-c", configure(web, WEB, DB), registry=False)
    daemon.ask("drain", "web", "b1")
    daemon.ask("drain", "db", "b1")
    with daemon.logs("link db is not configured: .*b1"):
        configure(web, WEB | {"balance": "random"})
        daemon.kill(signal.SIGHUP)
    wait_until(lambda: "numgen random" in web.app.table())
    assert "b1" not in spread(web)
    configure(web, WEB, DB)
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: "db" in daemon.links())
    wait_until(lambda: web.app.reaches("127.0.0.1:9001"))
    assert spread(web, "127.0.0.1:9001") == EVEN
    assert [entry["link"] for entry in json.loads(web.state().read_text())["overrides"]] == ["web"]


def test_a_start_with_another_configuration_forgets_nothing(web):
    daemon = web.start("--link", "9000=web")
    daemon.ask("drain", "web", "b1")
    daemon.stop()
    before = web.state().read_text()
    web.start("--link", "9000=web,name=other").stop()
    assert web.state().read_text() == before
    web.start("--link", "9000=web")
    assert spread(web) == WITHOUT_B1


@pytest.mark.parametrize("text, message", [
    ("{", "JSON"), ("", "JSON"), ('{"version": 99}', "version"),
    ('{"version": 1, "overrides": [{"netns": "", "link": "web", "endpoint": "b1", "weight": "x"}]}', "weight"),
], ids=["truncated", "empty", "version", "weight"])
def test_a_broken_state_file_is_set_aside(web, text, message):
    web.state().write_text(text)
    daemon = web.start("--link", "9000=web")
    daemon.wait_for_log(f"warn.*{re.escape(str(web.state()))}.*{message}.*broken")
    assert spread(web) == EVEN
    daemon.ask("drain", "web", "b2")
    broken = web.state().with_name(web.state().name + ".broken")
    assert broken.read_text() == text
    assert len(json.loads(web.state().read_text())["overrides"]) == 1


def test_a_state_file_that_cannot_be_written(web):
    """One that was asked for: the command fails, and nothing has changed."""
    state = web.path / "state.d"
    daemon = web.start("--link", "9000=web", "--state", state / "nuncio.json")
    daemon.ask("drain", "web", "b1")
    (state / "nuncio.json").unlink()
    (state / "nuncio.json").mkdir()
    with web.monitor() as monitor:
        for args in (["drain", "web", "b2"], ["weight", "web", "b1", "7"], ["undrain", "web", "b1"]):
            done = ask(daemon, *args)
            assert done.returncode == FAILED and str(state / "nuncio.json") in done.stderr
    assert monitor.lines == [] and not (state / "nuncio.json.new").exists()
    assert {e["id"]: e.get("override") for e in daemon.endpoints("web").values()} == {"b1": 0, "b2": None, "b3": None}
    assert spread(web) == WITHOUT_B1


@pytest.mark.parametrize("state", ["none", "default"])
def test_without_a_state_file(web, state):
    """It holds as long as the daemon, and the command says so."""
    if state == "none":
        daemon = web.start("--link", "9000=web", "--state", "none")
    else:
        hide = 'mount -t tmpfs -o ro,size=4k none /var/lib && exec "$@"'
        daemon = web.start("--link", "9000=web", state=False, prefix=["unshare", "-m", "sh", "-c", hide, "sh"])
    for endpoint in ("b1", "b2"):
        assert "as long as this nuncio runs" in daemon.ask("drain", "web", endpoint)
    assert daemon.log().count("/var/lib/nuncio/state.json:") == (state == "default")
    assert spread(web) == {"b3": 300}
    daemon.stop()
    web.start("--link", "9000=web", "--state", "none")
    assert spread(web) == EVEN


# Waiting

class Waiting:
    """A `nuncio wait` that runs in the background."""

    def __init__(self, lab, *args):
        self.process = subprocess.Popen(command("wait", *args), stderr=subprocess.PIPE, text=True)
        lab.processes.append(self.process)

    def result(self):
        _, errors = self.process.communicate(timeout=scaled(20))
        return self.process.returncode, errors


def test_wait_is_over_at_once(web):
    daemon = web.start("--link", "9000=web", "--link", "10.96.0.10:53/udp=web,name=udp")
    assert ask(daemon, "wait", "web", "udp", "--timeout", "0s").returncode == 0


def test_wait_for_the_first_endpoint(lab):
    lab.serve()
    lab.registry.write({"web": [], "db": lab.endpoints()})
    daemon = lab.start("--link", "9000=web", "--link", "9001=db")
    waiting = Waiting(lab, "db", "web", "--control", daemon.control)
    # What it is told when it asks for the first time.
    assert ask(daemon, "wait", "db", "web", "--timeout", "0s").returncode == REGISTRY
    assert waiting.process.poll() is None
    lab.registry.write({"web": lab.endpoints(), "db": []})
    wait_until(lambda: daemon.links()["db"]["state"] == "empty")
    assert ask(daemon, "wait", "web", "--timeout", "0s").returncode == 0
    lab.registry.write({"web": lab.endpoints(), "db": lab.endpoints()})
    assert waiting.result() == (0, "")
    assert spread(lab) == EVEN


@pytest.mark.parametrize("prepare, reason", [
    (lambda lab: lab.registry.write({"web": []}), "names no endpoint"),
    (lambda lab: None, "services.json"),
    (lambda lab: lab.registry.write({"web": lab.endpoints(family=6)}), "can serve"),
], ids=["empty", "no-registry", "wrong-family"])
def test_wait_tells_why_it_gave_up(lab, prepare, reason):
    prepare(lab)
    daemon = lab.start("--link", "9000=web", "--link", "9001=web,name=db")
    done = ask(daemon, "wait", "web", "db", "--timeout", "50ms")
    assert done.returncode == REGISTRY
    assert re.search(rf"50ms: web: .*{reason}.*; db: .*{reason}", done.stderr), done.stderr


def test_wait_for_the_daemon(web):
    """In a start script it may be asked before nuncio listens, and over a restart."""
    control = web.path / "control-1.sock"
    done = subprocess.run(command("wait", "web", "--control", control, "--timeout", "50ms"), capture_output=True,
                          text=True)
    assert done.returncode == REGISTRY and "no nuncio answers" in done.stderr
    waiting = Waiting(web, "web", "--control", control)
    web.registry.write({"web": []})
    daemon = web.start("--link", "9000=web")
    assert daemon.control == control and waiting.process.poll() is None
    daemon.kill()
    assert control.exists() and waiting.process.poll() is None
    web.registry.write({"web": web.endpoints()})
    daemon = web.start("--link", "9000=web")
    control.unlink()
    control.symlink_to(daemon.control)
    assert waiting.result() == (0, "")


def test_wait_where_it_may_not_ask(web):
    directory = web.path / "file"
    directory.write_text("")
    done = subprocess.run(command("wait", "web", "--control", directory / "sock"), capture_output=True, text=True,
                          timeout=scaled(20))
    assert done.returncode == FAILED and "Not a directory" in done.stderr


# Explaining

def test_explain(lab):
    lab.serve()
    records = lab.endpoints([2, 0, 1])
    records[2]["priority"] = 7
    records[0]["zone"] = "north"
    records += [{"id": "six", "host": "fd00:77::11", "port": 8080}, {"id": "own", "host": "127.0.0.1", "port": 9000}]
    lab.registry.write({"web": records})
    daemon = lab.start("--link", "9000=web,on_empty=hold", "--link", "9001=other")
    lab.app.hammer("127.0.0.1:9000", count=20)
    wait_until(lambda: not daemon.endpoints("web")["b1"]["live"])
    text = daemon.ask("explain", "web")
    for pattern in (
        r"^link web in nuncio's own namespace: serving$",
        r"^  1 of 5 endpoints get new connections$",
        r"listens on 127\.0\.0\.1:9000/tcp and leads to the service web$",
        rf"registry {re.escape(lab.registry.uri)}  good, revision 20\d\d-.*, last good answer \d+ s ago$",
        r"balance roundrobin, masquerade auto, on_empty hold: .*wait",
        r"^  b1 at 10\.77\.0\.11:8080 gets 100\.0 % of new connections \(1 of 1 slots\)\n    serving\n"
        r"    weight 2, priority 0, zone north; 20 connections so far, 0 live connections$",
        r"^  b2 at 10\.77\.0\.12:8080 gets no new connections\n    its weight is 0\n",
        r"^  b3 at 10\.77\.0\.13:8080 gets no new connections\n    standby: endpoints of priority 0 serve\n"
        r"    weight 1, priority 7;",
        r"^  six at \[fd00:77::11\]:8080 gets no new connections\n    not of the listen address's family",
        r"^  own at 127\.0\.0\.1:9000 gets no new connections\n    it is the link's own listen address",
    ):
        assert re.search(pattern, text, re.MULTILINE), f"{pattern} in\n{text}"
    assert "other" not in text
    daemon.ask("drain", "web", "b1")
    text = daemon.ask("explain", "web")
    assert re.search(r"b1 .* gets no new connections\n    drained by hand\n    weight 2 in the registry, .*\n"
                     r"    to take it back: nuncio undrain web b1\n", text), text
    assert re.search(r"b3 .* gets 100\.0 % .*\n    serving\n", text), text


def test_explain_as_data(web):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=other")
    daemon.ask("weight", "web", "b1", "2")
    data = json.loads(daemon.ask("explain", "web", "--json"))
    (link,) = data["ambassadors"][0]["links"]
    assert link == daemon.links()["web"]
    assert [endpoint["slots"] for endpoint in link["endpoints"]] == [2, 1, 1] and link["slots"] == 4
    assert data["registries"][0]["uri"] == web.registry.uri


def test_explain_a_stale_and_an_empty_link(web):
    daemon = web.start("--link", "9000=web", "--link", "9001=void")
    assert "the registry names no endpoint" in daemon.ask("explain", "void")
    assert "refused at once" in daemon.ask("explain", "void")
    web.registry.write("{")
    wait_until(lambda: daemon.links()["web"]["state"] == "stale")
    text = daemon.ask("explain", "web")
    assert "NOT GOOD" in text and "not valid JSON" in text and "3 of 3 endpoints" in text
