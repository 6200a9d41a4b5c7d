# SPDX-License-Identifier: GPL-2.0-or-later
"""`nuncio announce`, with a real etcd, and with a stand-in for Consul (see consul.py)."""

import base64
import json
import os
import re
import shutil
import signal

import pytest

import consul
import etcd
from daemon import Daemon, command
from waiting import wait_until

# Seconds; the least that etcd grants here is 1.
TTL = 2


@pytest.fixture
def cluster(request, lab):
    """One member; @pytest.mark.cluster(...) asks for another shape."""
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    shape = request.node.get_closest_marker("cluster")
    return etcd.Cluster(lab, **(shape.kwargs if shape else {}))


class Announcer(Daemon):
    """A running `nuncio announce` in a backend's namespace, or elsewhere."""

    def __init__(self, lab, cluster, *args, namespace=None, prefix=(), uri=None):
        registry = ["--registry", uri or cluster.uri()] if uri != "" else []
        argv = [*prefix, *command("announce", "--service", "web", "--ttl", f"{TTL}s", *registry, *args)]
        super().__init__((namespace or lab.backends[0]).command(*argv), None, lab.path / f"log-{len(lab.daemons) + 1}")
        lab.daemons.append(self)

    def end(self, number=signal.SIGTERM, code=0):
        self.process.send_signal(number)
        assert self.wait(20) == code, self.log()


def keys(cluster, member=None, prefix="/services/"):
    """What etcd has: values by key."""
    answer = (member or cluster.members[0]).ask("/v3/kv/range", {
        "key": etcd.encode(prefix), "range_end": etcd.encode(prefix[:-1] + chr(ord(prefix[-1]) + 1))})
    return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode()
            for kv in answer.get("kvs", [])}


def wait_for_keys(cluster, *expected, member=None, timeout=15):
    wait_until(lambda: set(keys(cluster, member)) == set(expected), timeout,
               lambda: f"{expected}, not {keys(cluster, member)}")


def leases(cluster):
    return cluster.members[0].ask("/v3/lease/leases", {}).get("leases", [])


def key_of(backend, port=8080):
    return f"/services/web/{backend.v4}:{port}"


def test_what_is_announced_is_read_by_others(lab, cluster):
    """Three backends with only a port each, whose addresses are found; one of them with a weight."""
    lab.serve()
    weights = dict(zip(lab.backends, ("1", "1", "2")))
    announcers = [Announcer(lab, cluster, "--endpoint", "8080", "--weight", weight, namespace=backend)
                  for backend, weight in weights.items()]
    wait_for_keys(cluster, *map(key_of, lab.backends))
    assert json.loads(keys(cluster)[key_of(lab.backends[2])]) == {
        "host": lab.backends[2].v4, "port": 8080, "weight": 2}
    daemon = lab.start("--registry", cluster.uri(), "--link", "9000=web", registry=False)
    wait_until(lambda: len(daemon.endpoints("web")) == 3)
    result = lab.app.hammer("127.0.0.1:9000", count=400)
    assert result["by"] == {"b1": 100, "b2": 100, "b3": 200}, result
    # Asked to end, each has withdrawn its endpoint when it has ended; and its lease is gone, too.
    announcers[2].end()
    assert key_of(lab.backends[2]) not in keys(cluster)
    wait_until(lambda: len(daemon.endpoints("web")) == 2)
    announcers[1].end(signal.SIGINT)
    assert set(keys(cluster)) == {key_of(lab.backends[0])}
    assert len(leases(cluster)) == 1
    assert not re.search("warning", announcers[2].log()), announcers[2].log()


def test_killed_it_is_gone_with_its_lease(lab, cluster):
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.kill()
    wait_for_keys(cluster)
    # Started again before the lease has ended, it is not lost when that ends.
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.kill()
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    announcer.wait_for_log("is announced")
    wait_until(lambda: len(leases(cluster)) == 1, 15)
    wait_for_keys(cluster, key_of(lab.backends[0]))


@pytest.mark.slow
def test_a_host_is_unplugged_under_load(lab, cluster):
    """Nobody withdraws its endpoint: its lease ends. Until then, connections that draw it go elsewhere."""
    lab.serve()
    for backend in lab.backends:
        Announcer(lab, cluster, "--endpoint", "8080", namespace=backend)
    daemon = lab.start("--registry", cluster.uri(), "--link", "9000=web", registry=False)
    wait_until(lambda: len(daemon.endpoints("web")) == 3)
    hammer = lab.app.start_hammer("127.0.0.1:9000", concurrency=4, timeout=60000)
    hammer.wait_for_more()
    lab.bridge.ip("link set b3 down")

    def serving():
        return {one["address"] for one in daemon.endpoints("web").values() if one["state"] == "up"}

    wait_until(lambda: serving() == {f"{one.v4}:8080" for one in lab.backends[:2]}, 20)
    hammer.wait_for_more()
    lab.bridge.ip("link set b3 up")
    wait_until(lambda: len(serving()) == 3, 20)
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0 and result["by"]["b3"], result


def test_etcd_restarts_without_data(lab, cluster):
    member = cluster.members[0]
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    member.kill()
    member.lose_data()
    member.start()
    cluster.wait()
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.wait_for_log("lease of .* is gone")


def test_an_outage(lab, cluster):
    """Longer than the lease lives. One line tells its begin, and one its end."""
    member = cluster.members[0]
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "-v")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    member.stop()
    wait_until(lambda: len(re.findall("Connection refused; trying again", announcer.log())) > 5, 40)
    member.start()
    cluster.wait()
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.wait_for_log("notice .* answers", timeout=15)
    assert len(re.findall("warning .*Connection refused", announcer.log())) == 1, announcer.log()
    # It is kept alive again, and ends with us.
    announcer.kill()
    wait_for_keys(cluster)


def test_a_start_without_etcd(lab, cluster):
    member = cluster.members[0]
    member.stop()
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    announcer.wait_for_log("Connection refused; trying again")
    member.start()
    cluster.wait()
    wait_for_keys(cluster, key_of(lab.backends[0]))


def test_it_ends_without_etcd(lab, cluster):
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    cluster.members[0].stop()
    announcer.end()
    assert "goes with its lease" in announcer.log()


def test_a_key_that_others_touch(lab, cluster):
    """It is put again when it was deleted, or put by another."""
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    key = key_of(lab.backends[0])
    wait_for_keys(cluster, key)
    value = keys(cluster)[key]
    cluster.delete(key)
    announcer.wait_for_log("was deleted, putting it again")
    wait_for_keys(cluster, key)
    cluster.put(key, "10.0.0.9:9")
    announcer.wait_for_log("put by another")
    wait_until(lambda: keys(cluster)[key] == value)
    announcer.kill()
    wait_for_keys(cluster)


@pytest.mark.parametrize("options, key, value", [
    ([], "web/{a}:80", '{{"host":"{a}","port":80,"weight":1}}'),
    (["--format", "json", "--id", "one/two"], "web/one/two", '{{"host":"{a}","port":80,"weight":1}}'),
    (["--format", "registrator", "--id", "host1:web_1:80"], "web/host1:web_1:80", "{a}:80"),
    (["--format", "skydns", "--id", "x1"], "web/x1", '{{"host":"{a}","port":80}}'),
    (["--format", "grpc"], "web/{a}:80", '{{"Op":0,"Addr":"{a}:80","Metadata":null}}'),
], ids=["default", "json", "registrator", "skydns", "grpc"])
def test_formats(lab, cluster, options, key, value):
    """As they stand in etcd; and nuncio itself reads each."""
    address = lab.backends[0].v4
    Announcer(lab, cluster, "--endpoint", f"{address}:80", *options)
    wait_until(lambda: keys(cluster))
    assert keys(cluster) == {f"/services/{key.format(a=address)}": value.format(a=address)}
    daemon = lab.start("--registry", cluster.uri(), "--link", "9000=web", registry=False)
    wait_until(lambda: [one["address"] for one in daemon.endpoints("web").values()] == [f"{address}:80"])


def test_ipv6_and_keys_without_a_slash(lab, cluster):
    address = lab.backends[0].v6
    Announcer(lab, cluster, "--endpoint", f"[{address}]:80", "--format", "grpc", uri=cluster.uri("grpc") + "?slash=no")
    wait_until(lambda: keys(cluster, prefix="grpc/"))
    assert keys(cluster, prefix="grpc/") == {
        f"grpc/web/[{address}]:80": f'{{"Op":0,"Addr":"[{address}]:80","Metadata":null}}'}


@pytest.mark.cluster(options={"listen-client-urls": "http://10.77.0.21:2379,http://127.0.0.1:2379"})
def test_the_address_where_the_registry_is_on_this_host(lab, cluster):
    """The source address of the route there would be 127.0.0.1; until there is a default route, there is none."""
    member = cluster.members[0]
    announcer = Announcer(lab, cluster, "--endpoint", ":80", namespace=member.namespace,
                          uri="etcd://127.0.0.1/services")
    announcer.wait_for_log("no own address")
    member.namespace.ip("route add default via 10.77.0.1")
    wait_for_keys(cluster, f"/services/web/{member.namespace.v4}:80")


@pytest.mark.parametrize("kind", ["tcp", "http", "exec"])
def test_a_check_gates_it(lab, cluster, kind):
    """Healthy, unhealthy and healthy again, with one line each."""
    backend = lab.backends[0]
    good = lab.path / "www" / "good"
    good.parent.mkdir()
    server = []

    def make_good():
        good.write_text("")
        if kind == "tcp":
            server.append(backend.serve())

    def make_bad():
        good.unlink()
        if kind == "tcp":
            server[-1].kill()
            server[-1].wait()

    if kind == "http":
        backend.popen("/usr/bin/python3", "-m", "http.server", "8080", "--directory", good.parent, stderr=-3)
    check = {"tcp": "tcp", "http": "http:/good", "exec": f"exec:test -e {good}"}[kind]
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--check", check, "--check-interval", "100ms")
    announcer.wait_for_log("not yet healthy: check")
    assert keys(cluster) == {}
    for _ in range(2):
        make_good()
        wait_for_keys(cluster, key_of(backend))
        make_bad()
        wait_for_keys(cluster)
    reason = {"tcp": "refused", "http": "HTTP 404", "exec": "exit code 1"}[kind]
    assert len(re.findall(f"warning .* unhealthy: check .*{reason}", announcer.log())) == 2, announcer.log()
    assert len(re.findall("web: healthy: check", announcer.log())) == 2, announcer.log()
    assert leases(cluster) == []


@pytest.mark.parametrize("kind", ["tcp", "http", "exec"])
def test_a_check_without_an_answer(lab, cluster, kind):
    """A port that accepts and does not answer (http), one whose packets are dropped, a command that hangs."""
    backend = lab.backends[0]
    backend.serve()
    if kind == "tcp":
        backend.run("nft", "add table ip t; add chain ip t in { type filter hook input priority 0; };"
                           "add rule ip t in tcp dport 8080 drop")
    elif kind == "http":
        silent = backend.socket()
        silent.bind((backend.v4, 8081))
        silent.listen()
    mark = f"{os.getpid()}.5"
    check = {"tcp": "tcp", "http": "http:/", "exec": f"exec:sleep {mark}; true"}[kind]
    port = "8081" if kind == "http" else "8080"
    announcer = Announcer(lab, cluster, "--endpoint", port, "--check", check, "--check-interval", "100ms")
    reason = {"tcp": "timed out after 1s", "http": "connected, but no answer within 1s", "exec": "no answer in time"}
    announcer.wait_for_log(f"not yet healthy: check .*{reason[kind]}", timeout=30)
    announcer.end()
    assert keys(cluster) == {}
    if kind == "exec":
        wait_until(lambda: mark not in backend.run("ps", "-eo", "args"))


def script(lab, name, text):
    path = lab.path / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def serve_command(lab):
    """Words of a command that serves port 8080."""
    from lab import TOOLS

    return [TOOLS / "responder", "b1", f"{lab.backends[0].v4}:8080"]


def test_a_command_is_announced_once_its_port_accepts(lab, cluster):
    go = lab.path / "go"
    wrapper = script(lab, "service", f"until test -e {go}; do sleep 0.01; done\nexec \"$@\"")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--", wrapper, *serve_command(lab))
    announcer.wait_for_log("not yet healthy")
    assert keys(cluster) == {}
    go.write_text("")
    wait_for_keys(cluster, key_of(lab.backends[0]))
    # Ended by SIGTERM, as the command is.
    announcer.end(code=128 + signal.SIGTERM)
    assert keys(cluster) == {}
    assert not lab.backends[1].reaches(f"{lab.backends[0].v4}:8080")


@pytest.mark.parametrize("ending, code", [("exit 7", 7), ("exit 0", 0), ("kill -9 $$", 137)])
def test_a_command_ends_by_itself(lab, cluster, ending, code):
    go = lab.path / "go"
    wrapper = script(lab, "service", f"until test -e {go}; do sleep 0.01; done\n{ending}")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--check", "none", "--", wrapper)
    wait_for_keys(cluster, key_of(lab.backends[0]))
    go.write_text("")
    assert announcer.wait(10) == code
    assert keys(cluster) == {}


def test_a_command_that_cannot_be_started(lab, cluster):
    for word, code in (("/no/such", 127), ("/dev/null", 126)):
        announcer = Announcer(lab, cluster, "--endpoint", "8080", "--", word)
        assert announcer.wait() == code
        assert word in announcer.log()
    assert keys(cluster) == {}


def test_a_command_is_drained(lab, cluster):
    """Withdrawn, it goes on serving; asked a second time, nuncio does not wait any longer."""
    marks = lab.path / "marks"
    wrapper = script(lab, "service", f"trap 'echo end >>{marks}; kill $!; exit 3' TERM\n"
                                     f"trap 'echo hangup >>{marks}' HUP\n\"$@\" &\n"
                                     "while kill -0 $!; do wait $!; done")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--drain", "1h", "--",
                          "setpriv", "--", wrapper, "env", "--ignore-signal=HUP", *serve_command(lab))
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.process.send_signal(signal.SIGHUP)
    wait_until(lambda: marks.exists() and marks.read_text() == "hangup\n", 10, announcer.log)
    announcer.process.send_signal(signal.SIGTERM)
    wait_for_keys(cluster)
    announcer.wait_for_log("the command goes on")
    assert lab.backends[1].reaches(f"{lab.backends[0].v4}:8080")
    assert marks.read_text() == "hangup\n"
    announcer.end(code=3)
    assert marks.read_text() == "hangup\nend\n"


def test_a_drain_that_is_over_ends_the_command(lab, cluster):
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--drain", "200ms", "--", *serve_command(lab))
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.end(code=128 + signal.SIGTERM)
    assert re.search("is withdrawn\n.*goes on for 200 ms\n.*has ended", announcer.log()), announcer.log()


@pytest.mark.slow
def test_a_command_that_does_not_end_is_killed(lab, cluster):
    wrapper = script(lab, "service", "trap '' TERM\nwhile :; do sleep 0.1; done")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--check", "none", "--", wrapper)
    wait_for_keys(cluster, key_of(lab.backends[0]))
    announcer.end(code=128 + signal.SIGKILL)
    assert "killing it" in announcer.log()


def enable_auth(cluster, permission):
    for words in ("user add root:rootpw", "user grant-role root root", "user add writer:secret", "role add writing",
                  f"role grant-permission writing {permission} /services/ --prefix", "user grant-role writer writing",
                  "auth enable"):
        cluster.ctl(*words.split())
    cluster.user = "root:rootpw"


@pytest.mark.slow
@pytest.mark.cluster(options={"auth-token-ttl": 1})
@pytest.mark.parametrize("permission", ["readwrite", "write"])
def test_authentication(lab, cluster, permission):
    """Tokens end all the time. A user who may not read his key puts it blindly."""
    enable_auth(cluster, permission)
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "-v", prefix=("env", "ETCDCTL_USER=writer:secret"))
    wait_until(lambda: key_of(lab.backends[0]) in cluster.ctl("get", "--prefix", "/services/"), 10, announcer.log)
    before = cluster.ctl("get", key_of(lab.backends[0]), "-w", "fields")
    lease = re.search(r'"Lease" : (\d+)', before).group(1)
    # It is kept for longer than one lease and some tokens last.
    other = json.loads(cluster.ctl("lease", "grant", str(3 * TTL), "-w", "json"))["ID"]
    wait_until(lambda: "already expired" in cluster.ctl("lease", "timetolive", f"{other:x}"), 30)
    assert cluster.ctl("get", key_of(lab.backends[0]), "-w", "fields") == before or \
        re.search(rf'"Lease" : {lease}\b', cluster.ctl("get", key_of(lab.backends[0]), "-w", "fields"))
    assert "warning" not in announcer.log(), announcer.log()
    announcer.end()
    assert cluster.ctl("get", "--prefix", "/services/") == ""


def test_authentication_that_fails(lab, cluster):
    enable_auth(cluster, "read")
    announcer = Announcer(lab, cluster, "--endpoint", "8080")
    announcer.wait_for_log("user name is empty; trying again")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", prefix=("env", "ETCDCTL_USER=writer:wrong"))
    announcer.wait_for_log("authentication failed.*; trying again")
    announcer = Announcer(lab, cluster, "--endpoint", "8080", prefix=("env", "ETCDCTL_USER=writer:secret"))
    announcer.wait_for_log("permission denied; trying again")


def test_tls_and_a_registry_of_the_configuration(lab):
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    tls = etcd.Tls(lab.path)
    cluster = etcd.Cluster(lab, tls=tls)
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({"registries": {"main": {
        "uri": cluster.uri(), "ca": str(tls.ca), "cert": str(tls.cert), "key": str(tls.key)}}, "registry": "main"}))
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "-c", config, uri="")
    wait_until(lambda: key_of(lab.backends[0]) in cluster.ctl("get", "--prefix", "/services/"))
    announcer.end()
    assert cluster.ctl("get", "--prefix", "/services/") == ""


@pytest.mark.slow
@pytest.mark.cluster(members=3)
@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_members_are_lost(lab, cluster, how):
    """Each in turn, for longer than the lease lives. The endpoint is there all the time, under the same lease."""
    announcer = Announcer(lab, cluster, "--endpoint", "8080", "--ttl", "8s")
    key = key_of(lab.backends[0])
    wait_for_keys(cluster, key)

    def fields(member):
        return member.ask("/v3/kv/range", {"key": etcd.encode(key)})["kvs"][0]

    before = fields(cluster.members[0])
    for member in cluster.members:
        other = next(one for one in cluster.members if one is not member)
        member.kill() if how == "killed" else member.cut()
        wait_until(other.answers, 20)
        lease = other.ask("/v3/lease/grant", {"TTL": "10"})["ID"]
        wait_until(lambda: other.ask("/v3/lease/timetolive", {"ID": lease}).get("TTL") == "-1", 30)
        assert fields(other) == before
        member.start() if how == "killed" else member.mend()
        cluster.wait()
    assert announcer.log().count("is announced") == 1, announcer.log()
    announcer.end()
    assert keys(cluster) == {}


@pytest.fixture
def agent(lab):
    made = consul.Agent(lab)
    yield made
    for daemon in lab.daemons:
        daemon.stop()  # while there is somebody to withdraw from
    made.stop()


def wait_for_statuses(agent, expected, timeout=15):
    wait_until(lambda: agent.statuses() == expected, timeout, lambda: f"{expected}, not {agent.statuses()}")


def test_consul_has_what_is_announced(lab, agent):
    """From the announcer by way of Consul to the application; told to end, and killed."""
    lab.serve()
    uri = agent.uri("tag=primary&wait=5s")
    announcers = [Announcer(lab, None, "--endpoint", "8080", "--weight", weight, namespace=backend, uri=uri)
                  for backend, weight in zip(lab.backends, "112")]
    ids = [f"web-{backend.v4}:8080" for backend in lab.backends]
    daemon = lab.start("--registry", uri, "--link", "9000=web,loss_hold=0s", registry=False)

    def wait_for(*expected):
        wait_until(lambda: set(daemon.endpoints("web")) == {f"n21/{id}" for id in expected}, 15,
                   lambda: daemon.endpoints("web"))

    wait_for(*ids)
    result = lab.app.hammer("127.0.0.1:9000", count=400)
    assert result["by"] == {"b1": 100, "b2": 100, "b3": 200}, result
    announcers[0].end()
    assert set(agent.statuses()) == set(ids[1:])
    assert "as web-" in announcers[0].log() and "warning" not in announcers[0].log(), announcers[0].log()
    wait_for(*ids[1:])
    # A check that passes lasts for the TTL only. Started again, it passes again.
    announcers[1].kill()
    wait_for_statuses(agent, {ids[1]: "critical", ids[2]: "passing"})
    wait_for(ids[2])
    Announcer(lab, None, "--endpoint", "8080", namespace=lab.backends[1], uri=uri)
    wait_for(*ids[1:])
    # A weight of 0 drains.
    Announcer(lab, None, "--endpoint", "8080", "--weight", "0", namespace=lab.backends[1], uri=uri)
    wait_until(lambda: daemon.endpoints("web")[f"n21/{ids[1]}"]["state"] == "draining", 15)
    assert daemon.endpoints("web")[f"n21/{ids[2]}"]["state"] == "up"


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_consul_that_forgets_is_told_again(lab, agent, old):
    agent.old = old
    announcer = Announcer(lab, None, "--endpoint", "8080", "--id", "a/b", uri=agent.uri())
    wait_for_statuses(agent, {"a/b": "passing"})
    announcer.wait_for_log("is announced, as a/b")
    agent.restart_without_data()
    wait_for_statuses(agent, {"a/b": "passing"})
    announcer.wait_for_log("the agent has lost a/b, registering it again")
    agent.deregister("web")
    wait_for_statuses(agent, {"a/b": "passing"})
    # Forgotten once more, it need not be withdrawn.
    agent.deregister("web")
    announcer.end()
    assert agent.statuses() == {}


def test_consul_that_is_away(lab, agent):
    """It is told again what it has critical; and the end comes without it."""
    announcer = Announcer(lab, None, "--endpoint", "8080", "--id", "x", "--check", "none", uri=agent.uri())
    wait_for_statuses(agent, {"x": "passing"})
    agent.stop()
    announcer.wait_for_log("Connection refused; trying again")
    agent.start()
    wait_for_statuses(agent, {"x": "passing"})
    announcer.wait_for_log("notice .*10.77.0.21:8500 answers")
    agent.change(refuses=(500, "No cluster leader"))
    wait_for_statuses(agent, {"x": "critical"})
    agent.change(refuses=None)
    wait_for_statuses(agent, {"x": "passing"})
    agent.stop()
    announcer.end()
    assert "critical when its TTL is over" in announcer.log()


def test_consul_asks_for_a_token(lab, agent):
    token = lab.path / "token"
    agent.tokens = {"reader": [], "writer": ["web"]}
    announcer = Announcer(lab, None, "--endpoint", "8080", "--id", "x", uri=agent.uri(),
                          prefix=("env", f"CONSUL_HTTP_TOKEN_FILE={token}"))
    announcer.wait_for_log(f"warning .*{token}.*; trying again")
    for text, reason in (("unknown", "ACL not found"), ("reader", "lacks permission 'service:write'")):
        token.write_text(text)
        other = Announcer(lab, None, "--endpoint", "8080", "--id", "x", uri=agent.uri(),
                          prefix=("env", f"CONSUL_HTTP_TOKEN_FILE={token}"))
        other.wait_for_log(f"{reason}.*HTTP 403; trying again")
        other.end()
        assert "TTL" not in other.log(), other.log()
    assert agent.statuses() == {}
    token.write_text("writer")
    wait_for_statuses(agent, {"x": "passing"})
    announcer.end()
    assert agent.statuses() == {}


@pytest.fixture
def directory(lab):
    return lab.path / "made" / "services.d"


def announce_file(lab, directory, number, *args):
    backend = lab.backends[number]
    return Announcer(lab, None, "--endpoint", f"{backend.v4}:8080", "--id", backend.role, *args, namespace=backend,
                     uri=f"file:{directory}")


@pytest.mark.lab(second_app=True)
def test_files_have_what_is_announced(lab, directory):
    """From the announcers by way of their files to the application; told to end, and killed."""
    lab.serve()
    announcers = [announce_file(lab, directory, number, "--weight", weight) for number, weight in enumerate("112")]
    daemon = lab.start("--registry", f"file:{directory}", "--link", "9000=web,loss_hold=0s", registry=False)

    def wait_for(*expected):
        wait_until(lambda: set(daemon.endpoints("web")) == set(expected), 15, lambda: daemon.endpoints("web"))

    wait_for("b1", "b2", "b3")
    result = lab.app.hammer("127.0.0.1:9000", count=400)
    assert result["by"] == {"b1": 100, "b2": 100, "b3": 200}, result
    assert {path.name for path in (directory / "web.d").iterdir()} == {"b1.live", "b2.live", "b3.live"}
    announcers[0].end()
    assert {path.name for path in (directory / "web.d").iterdir()} == {"b2.live", "b3.live"}
    assert re.search("is announced, as .*/services.d/web.d/b1.live\n", announcers[0].log())
    assert "warning" not in announcers[0].log(), announcers[0].log()
    wait_for("b2", "b3")
    # Killed, it leaves its file behind, which counts no more; also for who looks only now.
    announcers[1].kill()
    wait_for("b3")
    assert (directory / "web.d" / "b2.live").exists()
    other = lab.start("--registry", f"file:{directory}", "--link", "9000=web", registry=False, namespace=lab.app2)
    wait_until(lambda: set(other.endpoints("web")) == {"b3"})
    announce_file(lab, directory, 1)
    wait_for("b2", "b3")


def test_a_file_that_others_touch(lab, directory):
    """It is put again when it was deleted, or changed; and who takes its name has it to himself at the end."""
    announcer = announce_file(lab, directory, 0)
    path = directory / "web.d" / "b1.live"
    wait_until(path.exists)
    text = path.read_text()
    assert json.loads(text) == [{"host": lab.backends[0].v4, "port": 8080, "weight": 1, "id": "b1"}]
    path.unlink()
    announcer.wait_for_log("was deleted, putting it again")
    wait_until(path.exists)
    path.write_text("10.0.0.1:80")
    announcer.wait_for_log("was changed")
    wait_until(lambda: path.read_text() == text)
    shutil.rmtree(directory)
    wait_until(path.exists)
    # Not a directory for a while: what cannot be written is tried again.
    shutil.rmtree(directory)
    directory.write_text("")
    announcer.wait_for_log("warning .*Not a directory; trying again")
    directory.unlink()
    wait_until(path.exists, 10)
    announcer.wait_for_log("can be written again")
    announcer.end()
    assert list(path.parent.iterdir()) == []


def test_the_address_where_the_registry_is_a_file(lab, directory):
    """That of the default route; until there is one, there is none."""
    announcer = Announcer(lab, None, "--endpoint", "80", uri=f"file:{directory}")
    announcer.wait_for_log("no own address: .*default route")
    lab.backends[0].ip("route add default via 10.77.0.1")
    wait_until((directory / "web.d" / f"{lab.backends[0].v4}:80.live").exists)


def test_what_is_refused(lab):
    (lab.path / "regular").write_text("")
    minimal = ["announce", "--service", "web", "--endpoint", "80", "--registry", "etcd://10.77.0.9"]
    for args, code, text in (
        (["announce"], 2, "no service"),
        (["announce", "--service", "web"], 2, "no endpoint"),
        ([*minimal, "--ttl", "5"], 2, "--ttl 5"),
        ([*minimal, "--nonsense"], 2, "--nonsense"),
        ([*minimal[:-2]], 3, "no registry"),
        ([*minimal, "--registry", "file:services.json"], 3, "announce to a directory"),
        ([*minimal, "--registry", f"file:{lab.path}/regular"], 3, "announce to a directory"),
        ([*minimal, "--registry", "file:services.d", "--format", "grpc"], 3, "--format is for etcd"),
        ([*minimal, "--registry", "file:services.d", "--id", "a/b"], 3, "--id \"a/b\""),
        ([*minimal, "--registry", "file:services.d", "--service", "a/b"], 3, "--service \"a/b\""),
        ([*minimal, "--registry", "consul://10.77.0.9/?dc=x"], 3, "dc=x"),
        ([*minimal, "--registry", "consul://10.77.0.9", "--format", "grpc"], 3, "--format is for etcd"),
        ([*minimal, "--registry", "dns://10.77.0.9"], 3, "nothing can be announced to dns"),
        ([*minimal, "--registry", "etcd://a b"], 3, "a b"),
    ):
        done = lab.nuncio(*args)
        assert done.returncode == code and text in done.stderr, (args, done)
    assert "--check-interval" in lab.nuncio("announce", "--help").stdout
