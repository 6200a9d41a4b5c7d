# SPDX-License-Identifier: GPL-2.0-or-later
"""Active checks: who does not answer is out of rotation, and back when it does; why, and since when, can be read."""

import json
import signal
import socket
import ssl
import subprocess

import pytest

from waiting import scaled, wait_until
from web import Web

# Quick enough for tests, patient enough for a slow machine.
QUICK = {"interval": "200ms", "fast_interval": "100ms", "timeout": f"{int(scaled(500))}ms"}
TCP = {"type": "tcp", **QUICK}
HTTP = {"type": "http", "path": "/health", **QUICK}


def start(lab, check, listen="9000", **link):
    """nuncio with one link "web" whose endpoints are checked."""
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({"links": [{"listen": listen, "service": "web", "check": check, **link}]}))
    return lab.start("-c", config)


def verdicts(daemon, link="web"):
    return {name: endpoint["check"]["verdict"] for name, endpoint in daemon.endpoints(link).items()}


def states(daemon, link="web"):
    return {name: endpoint["state"] for name, endpoint in daemon.endpoints(link).items()}


def served_by_slots(daemon, link="web"):
    return {name for name, endpoint in daemon.endpoints(link).items() if endpoint["slots"]}


def wait_for_states(daemon, timeout=30, **expected):
    wait_until(lambda: states(daemon) == expected, timeout, lambda: f"{expected}: {daemon.ask('explain', 'web')}")


def wait_for_verdicts(daemon, timeout=30, **expected):
    wait_until(lambda: verdicts(daemon) == expected, timeout, lambda: f"{expected}: {daemon.ask('explain', 'web')}")


def wait_for_reason(daemon, name, text, timeout=30):
    wait_until(lambda: text in daemon.endpoints("web")[name]["check"]["reason"], timeout,
               lambda: f"{text}: {daemon.ask('explain', 'web')}")


def served_by(lab, target="127.0.0.1:9000", count=30):
    result = lab.app.hammer(target, count=count)
    assert result["failed"] == 0, result["errors"]
    return set(result["by"])


def filter_port(backend, rule="tcp dport 8080 drop"):
    backend.run("nft", "add table inet filtered; add chain inet filtered in { type filter hook input priority 0; }; "
                       f"add rule inet filtered in {rule}")


def unfilter(backend):
    backend.run("nft", "delete table inet filtered")


def test_a_process_dies_and_comes_back(lab):
    """The whole of it: out of rotation, the log, the reasons, and back."""
    lab.registry.write({"web": lab.endpoints()})
    responders = [backend.serve() for backend in lab.backends]
    daemon = start(lab, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    assert served_by(lab) == {"b1", "b2", "b3"}
    with daemon.logs(r"link web: b1 is down: refused \(3 checks in a row\)"):
        responders[0].kill()
        wait_for_states(daemon, b1="down", b2="up", b3="up")
    down = daemon.endpoints("web")["b1"]
    assert down["slots"] == 0 and down["check"]["reason"] == "refused"
    assert down["check"]["in_a_row"] >= 3 and down["check"]["last_good_seconds"] >= 0
    explanation = daemon.ask("explain", "web")
    assert "its checks fail: refused, since " in explanation
    assert "; last good " in explanation
    assert "10.77.0.11" not in "".join(line for line in lab.app.table().splitlines() if "numgen" in line)
    assert served_by(lab) == {"b2", "b3"}
    with daemon.logs(r"link web: b1 is up again after \d+ s"):
        lab.backends[0].serve()
        wait_for_states(daemon, b1="up", b2="up", b3="up")
    assert served_by(lab) == {"b1", "b2", "b3"}


def test_no_time_wait_is_left(web):
    daemon = start(web, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    wait_until(lambda: daemon.endpoints("web")["b1"]["check"]["in_a_row"] >= 5)
    assert web.app.run("ss", "-Htan", "state", "time-wait", "dport", "8080") == ""


def test_a_port_is_filtered(web):
    daemon = start(web, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    filter_port(web.backends[1])
    wait_for_states(daemon, b1="up", b2="down", b3="up")
    assert daemon.endpoints("web")["b2"]["check"]["reason"].startswith("timed out after ")
    unfilter(web.backends[1])
    wait_for_states(daemon, b1="up", b2="up", b3="up")


@pytest.mark.parametrize("family", [4, 6])
def test_a_host_is_unplugged(lab, family):
    """Its neighbours ask for its address in vain; and the other hosts' checks are not disturbed."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints(family=family)})
    daemon = start(lab, {**TCP, "timeout": "5s"}, listen="9000" if family == 4 else "[fd00:aa::1]:80")
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    lab.backends[2].ip("link set eth0 down")
    lab.app.run("ip", "neigh", "flush", "dev", "eth0")
    wait_for_states(daemon, 30, b1="up", b2="up", b3="down")
    assert daemon.endpoints("web")["b3"]["check"]["reason"] == "no route to host"
    lab.backends[2].give("eth0", f"{lab.backends[2].v6}/64")  # the kernel took it away with the link
    wait_for_states(daemon, 30, b1="up", b2="up", b3="up")


def test_what_http_says(lab):
    """A status, a hung server, a body, a Host; the good one is asked for what it should be."""
    servers = [Web(backend) for backend in lab.backends]
    lab.registry.write({"web": lab.endpoints()})
    daemon = start(lab, {**HTTP, "host": "web.example", "body": "all is well", "status": "200-299"})
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    servers[0].status = 503
    servers[1].body = b"not so well"
    servers[2].hang = True
    # All down: they serve, but what each has done is told.
    wait_for_verdicts(daemon, b1="down", b2="down", b3="down")
    said = {name: endpoint["check"]["reason"] for name, endpoint in daemon.endpoints("web").items()}
    assert said["b1"] == "HTTP 503"
    assert said["b2"] == 'HTTP 200, but its body does not have "all is well"'
    assert said["b3"].startswith("connected, but no answer within ")
    request = servers[0].requests[0].lower()
    assert request.startswith("get /health http/1.1\r\n")
    assert "\r\nhost: web.example\r\n" in request and "\r\nconnection: close\r\n" in request
    servers[0].status = 200
    servers[1].body = b"what else: all is well."
    servers[2].hang = False
    wait_for_states(daemon, b1="up", b2="up", b3="up")


def test_an_answer_that_is_slow_is_no_answer(lab):
    lab.serve()
    slow = Web(lab.backends[0], port=8081)
    Web(lab.backends[1], port=8081), Web(lab.backends[2], port=8081)
    lab.registry.write({"web": lab.endpoints()})
    daemon = start(lab, {**HTTP, "port": 8081, "timeout": "1s"})
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    slow.delay = 3
    wait_for_states(daemon, 20, b1="down", b2="up", b3="up")
    assert daemon.endpoints("web")["b1"]["check"]["reason"] == "connected, but no answer within 1s"
    assert served_by(lab) == {"b2", "b3"}  # what is checked is another port


def test_one_check_for_two_links(lab):
    """However many links lead to an endpoint, it is checked once, unless they ask for different checks."""
    server = Web(lab.backends[0])
    lab.registry.write({"web": lab.endpoints()[:1], "api": lab.endpoints()[:1]})
    config = lab.path / "nuncio.json"
    slow = {"type": "http", "path": "/one", "interval": "1h"}
    links = [{"listen": f"{9000 + i}", "service": service, "check": slow} for i, service in enumerate(["web", "api"])]
    links.append({"listen": "9002", "service": "api", "name": "other", "check": {**slow, "path": "/other"}})
    config.write_text(json.dumps({"links": links}))
    daemon = lab.start("-c", config)
    for link in ("web", "api", "other"):
        wait_until(lambda: verdicts(daemon, link) == {"b1": "up"})
    assert sorted(request.split()[1] for request in server.requests) == ["/one", "/other"]


@pytest.mark.parametrize("policy", ["serve", "empty"])
def test_all_are_down(lab, policy):
    lab.registry.write({"web": lab.endpoints()})
    daemon = start(lab, TCP, on_all_down=policy)
    wait_for_verdicts(daemon, b1="down", b2="down", b3="down")
    if policy == "serve":
        wait_until(lambda: daemon.links()["web"].get("reason") ==
                   "no endpoint is well, so all of them serve (on_all_down)")
        assert served_by_slots(daemon) == {"b1", "b2", "b3"}
        assert "serving, for no endpoint is well; its checks fail: refused, since " in daemon.ask("explain", "web")
    else:
        wait_until(lambda: daemon.links()["web"]["state"] == "empty")
        assert daemon.links()["web"]["reason"] == "no endpoint is well"
        assert served_by_slots(daemon) == set()
    assert states(daemon) == {"b1": "down", "b2": "down", "b3": "down"}
    # The first one that is well is the only one.
    lab.backends[1].serve()
    wait_for_states(daemon, b1="down", b2="up", b3="down")
    assert served_by(lab) == {"b2"}


def test_the_next_priority_takes_over(lab):
    responders = [backend.serve() for backend in lab.backends]
    lab.registry.write({"web": [{**endpoint, "priority": priority}
                                for endpoint, priority in zip(lab.endpoints(), (0, 0, 1))]})
    daemon = start(lab, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    assert served_by(lab) == {"b1", "b2"}
    responders[0].kill(), responders[1].kill()
    wait_for_states(daemon, b1="down", b2="down", b3="up")
    assert served_by(lab) == {"b3"}
    lab.backends[1].serve()
    wait_until(lambda: "standby" in daemon.endpoints("web")["b3"]["reason"], 10)
    assert served_by(lab) == {"b2"}


def test_no_verdict_serves_unless_it_is_to_wait(lab):
    """A new endpoint, whose first checks fail; one that is to wait gets nothing before its first good one."""
    lab.backends[0].serve()
    lab.registry.write({"web": lab.endpoints()})
    patient = {**TCP, "fall": 100, "interval": "1h", "fast_interval": "1h"}
    daemon = start(lab, {**patient, "initial": "wait"}, on_all_down="empty")
    wait_for_states(daemon, b1="up", b2="down", b3="down")
    assert verdicts(daemon) == {"b1": "up", "b2": "unknown", "b3": "unknown"}
    assert "it waits for a check that is good (initial=wait)" in daemon.ask("explain", "web")
    assert served_by(lab) == {"b1"}
    daemon.stop()
    daemon = start(lab, patient)
    wait_for_verdicts(daemon, b1="up", b2="unknown", b3="unknown")
    assert states(daemon) == {"b1": "up", "b2": "up", "b3": "up"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_down_stays_down_over_a_restart(lab, how):
    """Until it is proven well: here by a second good check, which is an hour away."""
    lab.backends[0].serve(), lab.backends[1].serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon = start(lab, {**TCP, "rise": 100})
    wait_for_states(daemon, b1="up", b2="up", b3="down")
    checks = lab.state().with_name(lab.state().name + ".checks")
    wait_until(lambda: checks.exists() and "10.77.0.13:8080" in checks.read_text(), 10)
    since = daemon.endpoints("web")["b3"]["check"]["since_seconds"]
    daemon.kill(how)
    if how == signal.SIGTERM:
        daemon.wait()
    lab.backends[2].serve()
    with lab.monitor() as monitor:
        daemon = start(lab, {**TCP, "rise": 100})
        wait_for_verdicts(daemon, b1="up", b2="up", b3="down")
        again = daemon.endpoints("web")["b3"]
    assert not [line for line in monitor.changes() if "10.77.0.13" in line], monitor.changes()
    assert again["state"] == "down" and again["check"]["since_seconds"] >= since
    assert again["check"]["reason"] == "refused"
    wait_until(lambda: daemon.endpoints("web")["b3"]["check"].get("doubt") == "connected", 10)
    assert "good again: connected" in daemon.ask("explain", "web")
    # The same check at another pace goes on with it, also where it is read anew; one of another port knows nothing.
    config = lab.path / "nuncio.json"
    config.write_text(config.read_text().replace('"rise": 100', '"rise": 99'))
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: daemon.endpoints("web")["b3"]["check"].get("needed") == 99, 10)
    assert verdicts(daemon) == {"b1": "up", "b2": "up", "b3": "down"}
    config.write_text(config.read_text().replace('"rise": 99', '"rise": 99, "port": 8080'))
    daemon.kill(signal.SIGHUP)
    wait_for_states(daemon, b1="up", b2="up", b3="up")


def test_a_file_of_verdicts_that_is_broken(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    checks = lab.state().with_name(lab.state().name + ".checks")
    checks.write_text("{")
    daemon = start(lab, TCP)
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    assert checks.with_name(checks.name + ".broken").read_text() == "{"


def test_checks_do_not_go_through_links(web):
    """An endpoint whose address some link listens on is not checked: that would be the link's endpoints' answer."""
    web.registry.write({"web": [{"id": "self", "host": "10.96.0.10", "port": 80}, *web.endpoints()],
                        "vip": web.endpoints()})
    config = web.path / "nuncio.json"
    config.write_text(json.dumps({"defaults": {"check": TCP}, "links": [
        {"listen": "9000", "service": "web"}, {"listen": "10.96.0.10:80", "service": "vip"}]}))
    daemon = web.start("-c", config)
    wait_for_verdicts(daemon, self="unknown", b1="up", b2="up", b3="up")
    wait_for_reason(daemon, "self", "a link listens on its address")
    assert daemon.endpoints("web")["self"]["state"] == "up"
    # When the link goes, what is really there is checked.
    config.write_text(json.dumps({"links": [{"listen": "9000", "service": "web", "check": TCP}]}))
    daemon.kill(signal.SIGHUP)
    wait_for_states(daemon, self="down", b1="up", b2="up", b3="up")


def test_flapping_does_not_take_it_out(lab):
    """Two failures in a row, again and again, where it takes three: seen, and of no consequence."""
    server = Web(lab.backends[0])
    lab.backends[1].serve()
    lab.registry.write({"web": lab.endpoints()[:1]})
    daemon = start(lab, HTTP)
    wait_for_verdicts(daemon, b1="up")
    for _ in range(3):
        server.status = 500
        wait_until(lambda: daemon.endpoints("web")["b1"]["check"].get("doubt") == "HTTP 500", 10)
        server.status = 200
        wait_until(lambda: "doubt" not in daemon.endpoints("web")["b1"]["check"], 10)
    assert "is down" not in daemon.log()


@pytest.mark.parametrize("on_remove", ["drain", "reset"])
def test_established_connections_of_what_is_down(lab, on_remove):
    """They stay, unless on_remove=reset: a check that fails says nothing about them, but one may want to know."""
    backend = lab.backends[0]
    backend.serve(options=["--echo"])
    server = Web(backend, port=8081)
    lab.registry.write({"web": lab.endpoints()})
    daemon = start(lab, {**HTTP, "port": 8081}, on_remove=on_remove)
    wait_for_verdicts(daemon, b1="up", b2="down", b3="down")
    wait_for_states(daemon, b1="up", b2="down", b3="down")
    client = lab.app.socket()
    client.connect(("127.0.0.1", 9000))
    client.sendall(b"one")
    assert client.recv(10) == b"one"
    Web(lab.backends[1], port=8081)
    wait_for_states(daemon, b1="up", b2="up", b3="down")
    server.status = 500
    wait_for_states(daemon, b1="down", b2="up", b3="down")
    if on_remove == "drain":
        client.sendall(b"two")
        assert client.recv(10) == b"two"
    else:
        client.settimeout(scaled(5))
        with pytest.raises(ConnectionError):
            client.recv(10)


def test_udp_flows_move(lab):
    """The check is of TCP's port of the same number; a client's flow goes to who is well."""
    lab.serve()
    lab.registry.write({"dns": lab.endpoints()[:2]})
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({"links": [{"listen": "9000/udp", "service": "dns", "check": TCP}]}))
    daemon = lab.start("-c", config)
    wait_until(lambda: verdicts(daemon, "dns") == {"b1": "up", "b2": "up"})
    client = lab.app.socket(kind=socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", 9000))
    client.send(b"x")
    first = client.recv(20).decode().strip()
    backend = next(backend for backend in lab.backends if backend.role == first)
    filter_port(backend)
    wait_until(lambda: daemon.endpoints("dns")[first]["state"] == "down", 10)

    def moved():
        client.send(b"x")
        return client.recv(20).decode().strip() != first

    wait_until(moved)


def test_tls(lab):
    """A certificate of its own is as good as any, unless it has to be verified."""
    lab.app.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=web.example",
                "-keyout", lab.path / "key", "-out", lab.path / "cert")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.path / "cert", lab.path / "key")
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    Web(lab.backends[0], context=context)
    Web(lab.backends[1])
    lab.registry.write({"web": lab.endpoints()[:2]})
    config = lab.path / "nuncio.json"
    check = {**HTTP, "tls": True, "host": "web.example"}
    config.write_text(json.dumps({"links": [
        {"listen": "9000", "service": "web", "check": check},
        {"listen": "9001", "service": "web", "name": "strict", "check": {**check, "tls_verify": True}}]}))
    daemon = lab.start("-c", config)
    wait_for_verdicts(daemon, b1="up", b2="down")
    assert daemon.endpoints("web")["b2"]["check"]["reason"].startswith("no answer within ")
    assert "web.example" in names
    wait_until(lambda: verdicts(daemon, "strict")["b1"] == "down", 10)
    assert "certificate" in daemon.endpoints("strict")["b1"]["check"]["reason"]


@pytest.mark.lab(second_app=True)
def test_a_namespace_that_goes_takes_its_checks_along(web):
    """A socket in it would keep it alive: that of a check that waits for an answer, too."""
    filter_port(web.backends[0])
    config = web.path / "nuncio.json"
    config.write_text(json.dumps({"ambassadors": [{"netns": str(web.app2.path), "links": [
        {"listen": "9000", "service": "web", "check": {**TCP, "timeout": "1h"}}]}]}))
    daemon = web.start("-c", config, namespace=None)
    wait_for_verdicts(daemon, b1="unknown", b2="up", b3="up")
    subprocess.run(["ip", "netns", "del", web.app2.name], check=True)
    # Its end of the cable goes when it does.
    wait_until(lambda: web.bridge.run("ip", "-o", "link", "show", "app2", check=False) == "", 10)
    assert daemon.endpoints("web")["b1"]["reason"] == "the kernel does not have it yet"


def test_words_for_checks(web):
    daemon = web.start("--link", "9000=web,check=tcp", "--link", "9001=web,name=http,check=http:/health")
    wait_for_verdicts(daemon, b1="up", b2="up", b3="up")
    wait_until(lambda: set(verdicts(daemon, "http").values()) == {"down"}, 20)
    assert daemon.links()["http"]["check"] == "http:/health"
    assert "check http:/health, on_all_down serve" in daemon.ask("explain", "http")
    refused = web.nuncio("check", "--link", "9000=web,check=ping")
    assert refused.returncode == 3 and "expected off, tcp, http:/PATH" in refused.stderr
