# SPDX-License-Identifier: GPL-2.0-or-later
"""etcd as a registry: a real one, what is written to it, and what befalls it."""

import json
import re
import time

import pytest

import etcd
from waiting import wait_until

EVEN = {"b1": 100, "b2": 100, "b3": 100}


@pytest.fixture
def cluster(request, lab):
    """One member; @pytest.mark.cluster(...) asks for another shape."""
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    shape = request.node.get_closest_marker("cluster")
    return etcd.Cluster(lab, **(shape.kwargs if shape else {}))


@pytest.fixture
def web(lab, cluster):
    """Three backends that serve, and that etcd has as service "web"."""
    lab.serve()
    for backend in lab.backends:
        cluster.put(f"/services/web/{backend.role}", f"{backend.v4}:8080")
    return lab


def start(lab, cluster, *args, links=("--link", "9000=web"), **options):
    return lab.start("--registry", cluster.uri(), *links, *args, registry=False, **options)


def ids(daemon, link="web"):
    return set(daemon.endpoints(link))


def wait_for(daemon, expected, link="web", timeout=15):
    """Until the kernel has exactly these endpoints."""
    wait_until(lambda: ids(daemon, link) == set(expected), timeout, lambda: f"{expected}, not {ids(daemon, link)}")


def registry(daemon):
    return daemon.status()["registries"][0]


def wait_for_registry(daemon, connected, timeout=15):
    wait_until(lambda: registry(daemon)["connected"] == connected, timeout, lambda: str(registry(daemon)))


def check(lab, expected, target="127.0.0.1:9000"):
    result = lab.app.hammer(target, count=sum(expected.values()))
    assert result["by"] == expected, result


def test_keys_come_and_go(web, cluster):
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    check(web, EVEN)
    cluster.delete("/services/web/b3")
    wait_for(daemon, {"b1", "b2"})
    check(web, {"b1": 50, "b2": 50})
    lease = cluster.grant(1)
    with daemon.logs(r"link web:.*\+b3", r"link web:.*-b3"):  # the lease expires; who looks is too late to see it
        cluster.put("/services/web/b3", f"{web.backends[2].v4}:8080", lease=lease)
    wait_for(daemon, {"b1", "b2"})
    cluster.put("/services/web/b2", {"host": web.backends[1].v4, "port": 8080, "weight": 0})
    wait_until(lambda: daemon.endpoints("web")["b2"]["state"] == "draining")
    check(web, {"b1": 50})
    for backend in ("b1", "b2"):
        cluster.delete(f"/services/web/{backend}")
    wait_for(daemon, set())
    assert daemon.links()["web"]["state"] == "empty"
    assert not web.app.reaches("127.0.0.1:9000")
    state = registry(daemon)
    assert state["connected"] and int(state["revision"]) > 1 and "error" not in state


def test_the_same_value_again_changes_nothing(web, cluster):
    """As sidekicks do, to keep a key alive."""
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    with web.monitor() as monitor:
        for _ in range(3):
            cluster.put("/services/web/b1", f"{web.backends[0].v4}:8080")
        before = registry(daemon)["revision"]
        cluster.put("/services/other/x", "10.77.0.9:80")
        cluster.put("/services/web/b1", f"{web.backends[0].v4}:8080")
        wait_until(lambda: registry(daemon)["revision"] != before)
    assert monitor.changes() == []


def test_values_of_all_tools_side_by_side(lab, cluster):
    """What registrator, SkyDNS, gRPC, vulcand, nerve and a sidekick unit write; and garbage beside it."""
    b1, b2, b3 = (backend.v4 for backend in lab.backends)
    values = {
        "host1:web_1:80": f"{b1}:8081",
        "x1": f'{{"host":"{b1}","port":8082,"priority":0,"weight":2,"ttl":60}}',
        "grpc": f'{{"Op":0,"Addr":"{b2}:8083","Metadata":null}}',
        "servers/srv1": f'{{"Id":"srv1","URL":"http://{b2}:8084"}}',
        "i-0abc/0000000001": f'{{"host":"{b3}","port":8085,"name":"i-0abc","weight":3,"labels":{{}}}}',
        "apache1": f'{{ "host": "{b3}", "port": 80, "version": "52c7248a14" }}',
        "ours": {"host": lab.backends[0].v6, "port": 8086, "id": "own"},
    }
    garbage = {"bad1": "hello", "bad2": '{"host":', "bad3": f"{b1}:0", "bad4": b"\xff\x00", "bad5": ""}
    for key, value in {**values, **garbage, "backend": '{"Id":"b","Type":"http"}'}.items():
        cluster.put(f"/services/web/{key}", value)
    daemon = start(lab, cluster)
    expected = {"host1:web_1:80", "x1", "grpc", "servers/srv1", "i-0abc/0000000001", "apache1", "own"}
    wait_for(daemon, expected)
    endpoints = daemon.endpoints("web")
    assert endpoints["x1"]["address"] == f"{b1}:8082" and endpoints["x1"]["weight"] == 2
    assert endpoints["servers/srv1"]["address"] == f"{b2}:8084"
    assert endpoints["i-0abc/0000000001"]["weight"] == 3
    assert registry(daemon)["skipped_records"] == len(garbage)
    cluster.put("/services/web/bad1", "hello")
    cluster.put("/services/web/last", f"{b1}:9999")
    wait_for(daemon, expected | {"last"})
    for key in garbage:
        assert len(re.findall(rf"/web/{key}: .*skipped", daemon.log())) == 1, daemon.log()


def test_only_garbage_is_an_error_and_keeps_the_endpoints(web, cluster):
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    cluster.put_many((f"/services/web/{backend.role}", "oops") for backend in web.backends)
    wait_until(lambda: daemon.links()["web"]["state"] == "stale")
    check(web, EVEN)


def test_keys_without_a_leading_slash(lab, cluster):
    lab.serve()
    cluster.put("grpc/web/b1", f'{{"Op":0,"Addr":"{lab.backends[0].v4}:8080"}}')
    daemon = lab.start("--registry", cluster.uri("grpc") + "?slash=no", "--link", "9000=web", registry=False)
    wait_for(daemon, {"b1"})


def test_a_link_that_is_added_later(web, cluster):
    """Its keys lie outside of the range that was watched."""
    config = web.path / "nuncio.json"
    conf = {"registry": cluster.uri(), "links": [{"listen": "9000", "service": "web"}]}
    config.write_text(json.dumps(conf))
    cluster.put("/services/db/x", f"{web.backends[0].v4}:8080")
    daemon = web.start("-c", config, registry=False)
    wait_for(daemon, {"b1", "b2", "b3"})
    conf["links"].append({"listen": "9001", "service": "db"})
    config.write_text(json.dumps(conf))
    daemon.kill(1)
    wait_until(lambda: "db" in daemon.links() and ids(daemon, "db") == {"x"})
    cluster.put("/services/db/y", f"{web.backends[1].v4}:8080")
    cluster.delete("/services/web/b1")
    wait_for(daemon, {"x", "y"}, "db")
    wait_for(daemon, {"b2", "b3"})


def test_once_waits_for_the_answer(web, cluster):
    done = web.nuncio("run", "--once", "--registry", cluster.uri(), "--link", "9000=web")
    assert done.returncode == 0, done.stderr
    check(web, EVEN)
    cluster.members[0].stop()
    done = web.nuncio("run", "--once", "--registry", cluster.uri(), "--link", "9000=web")
    assert done.returncode == 5, done.stderr
    check(web, EVEN)


def test_an_outage_under_load(web, cluster):
    """Nothing is lost while it lasts, and one line each tells its begin and its end."""
    member = cluster.members[0]
    daemon = start(web, cluster, links=("--link", "9000=web", "--link", "9001=web,name=again"))
    wait_for(daemon, {"b1", "b2", "b3"})
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    since = len(daemon.log())
    member.stop()
    wait_for_registry(daemon, False)
    wait_until(lambda: daemon.links()["web"]["state"] == "stale")
    wait_until(lambda: f"{member.address}: Connection refused" in registry(daemon)["error"])
    assert ids(daemon) == {"b1", "b2", "b3"}
    hammer.wait_for_more()
    member.start()
    wait_for_registry(daemon, True, 30)
    wait_until(lambda: daemon.links()["web"]["state"] == "serving")
    web.backends[2].serve("moved", port=8081)
    cluster.put("/services/web/b3", f"{web.backends[2].v4}:8081")
    wait_until(lambda: daemon.endpoints("web")["b3"]["address"].endswith(":8081"))
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0 and result["by"]["moved"], result
    log = daemon.log(since)
    assert len(re.findall(r" warning ", log)) == 1, log
    assert len(re.findall(r"notice .*answers again", log)) == 1, log


def test_a_start_without_etcd(web, cluster):
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    daemon.kill()
    cluster.members[0].stop()
    with web.monitor() as monitor:
        daemon = start(web, cluster)
        wait_until(lambda: "refused" in registry(daemon).get("error", ""))
    assert monitor.changes() == []
    assert daemon.links()["web"]["state"] == "stale"
    check(web, EVEN)
    cluster.members[0].start()
    wait_for_registry(daemon, True, 30)
    cluster.delete("/services/web/b3")
    wait_for(daemon, {"b1", "b2"})
    check(web, {"b1": 50, "b2": 50})


@pytest.mark.slow
def test_compaction_while_it_is_cut_off(web, cluster):
    member = cluster.members[0]
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    member.cut()
    wait_for_registry(daemon, False, 30)
    cluster.delete("/services/web/b3")
    for n in range(20):
        cluster.put("/services/web/b2", {"host": web.backends[1].v4, "port": 8080, "weight": n})
    cluster.compact()
    check(web, EVEN)
    member.mend()
    wait_for(daemon, {"b1", "b2"}, timeout=60)
    wait_until(lambda: daemon.endpoints("web")["b2"]["weight"] == 19)


@pytest.mark.parametrize("left", [0, 2], ids=["empty", "half"])
def test_lost_data_are_what_they_are(web, cluster, left):
    """It comes back with less, or with nothing. After loss_hold that is what it says, and on_empty what it means."""
    member = cluster.members[0]
    daemon = start(web, cluster, links=("--link", "9000=web,loss_hold=1s", "--link", "9001=web,name=kept,on_empty=keep"))
    wait_for(daemon, {"b1", "b2", "b3"})
    member.kill()
    wait_for_registry(daemon, False)
    member.lose_data()
    # It may be asked before it has these keys again.
    member.start()
    cluster.wait()
    for backend in web.backends[:left]:
        cluster.put(f"/services/web/{backend.role}", f"{backend.v4}:8080")
    wait_for(daemon, {"b1", "b2"} if left else set(), timeout=30)
    wait_for(daemon, {"b1", "b2"} if left else {"b1", "b2", "b3"}, "kept", timeout=30)
    assert registry(daemon)["connected"]


@pytest.mark.slow
@pytest.mark.cluster(options={"auth-token-ttl": 1})
def test_authentication_and_its_end(web, cluster):
    password = web.path / "password"
    password.write_text("not this\n")
    config = web.path / "nuncio.json"
    config.write_text(json.dumps({
        "registries": {"main": {"uri": cluster.uri(), "username": "reader", "password_file": str(password)}},
        "registry": "main",
        "links": [{"listen": "9000", "service": "web"}],
    }))
    for command in ("user add root:rootpw", "user grant-role root root", "user add reader:secret", "role add reading",
                    "role grant-permission reading read /services/ --prefix", "user grant-role reader reading",
                    "auth enable"):
        cluster.ctl(*command.split())
    cluster.user = "root:rootpw"
    daemon = web.start("-c", config, registry=False)
    wait_until(lambda: "authentication failed" in registry(daemon).get("error", ""))
    password.write_text("secret\n")
    wait_for(daemon, {"b1", "b2", "b3"}, timeout=30)
    # Longer than a token lives: a check needs another one, and nobody notices.
    since = len(daemon.log())
    age = registry(daemon)["last_success_seconds"]
    wait_until(lambda: registry(daemon)["last_success_seconds"] < age, 20)
    wait_until(lambda: registry(daemon)["last_success_seconds"] > 3, 20)
    wait_until(lambda: registry(daemon)["last_success_seconds"] < 3, 20)
    cluster.ctl("del", "/services/web/b3")
    wait_for(daemon, {"b1", "b2"})
    check(web, {"b1": 50, "b2": 50})
    assert not re.search("warning", daemon.log(since)), daemon.log(since)


def test_authentication_that_is_missing(web, cluster):
    for command in ("user add root:rootpw", "user grant-role root root", "auth enable"):
        cluster.ctl(*command.split())
    daemon = start(web, cluster)
    wait_until(lambda: "user name is empty" in registry(daemon).get("error", ""))


def test_tls_with_client_certificates(lab):
    if etcd.obstacle():
        pytest.skip(etcd.obstacle())
    tls = etcd.Tls(lab.path)
    cluster = etcd.Cluster(lab, tls=tls)
    lab.serve()
    cluster.ctl("put", "/services/web/b1", f"{lab.backends[0].v4}:8080")
    (lab.path / "other.pem").write_text((lab.path / "server.pem").read_text())
    own = {"ca": str(lab.path / "copy-ca.pem"), "cert": str(tls.cert), "key": str(tls.key)}
    # First with an authority that did not sign etcd's certificate; the right file takes its place.
    (lab.path / "copy-ca.pem").write_text((lab.path / "client.pem").read_text())
    config = lab.path / "nuncio.json"
    config.write_text(json.dumps({
        "registries": {"main": {"uri": cluster.uri(), **own}}, "registry": "main",
        "links": [{"listen": "9000", "service": "web"}],
    }))
    daemon = lab.start("-c", config, registry=False)
    wait_until(lambda: "certificate" in registry(daemon).get("error", ""), 10, lambda: str(registry(daemon)))
    (lab.path / "copy-ca.pem").write_text(tls.ca.read_text())
    wait_for(daemon, {"b1"}, timeout=30)
    cluster.ctl("put", "/services/web/b2", f"{lab.backends[1].v4}:8080")
    wait_for(daemon, {"b1", "b2"})
    check(lab, {"b1": 50, "b2": 50})


@pytest.mark.slow
def test_host_names_in_values(web, cluster):
    """As CoreOS' sidekick units write them. The namespace has an /etc/hosts of its own, which changes."""
    hosts = web.path / "hosts"
    hosts.write_text(f"{web.backends[0].v4} core-01\n{web.backends[0].v6} core-01\n")
    cluster.put("/services/named/apache1", '{ "host": "core-01", "port": 8080, "version": "52c7248a14" }')
    cluster.put("/services/named/apache2", "core-02:8080")
    script = f"mount --bind {hosts} /etc/hosts && exec \"$@\""
    daemon = start(web, cluster, links=("--link", "9000=named"), prefix=("unshare", "-m", "sh", "-c", script, "sh"))
    wait_for(daemon, {"apache1"}, "named")
    assert daemon.endpoints("named")["apache1"]["address"] == f"{web.backends[0].v4}:8080"
    assert registry(daemon)["skipped_records"] == 1
    assert len(re.findall('apache2: host "core-02": .*skipped', daemon.log())) == 1
    check(web, {"b1": 10})
    # The same inode: a bind mount shows it.
    hosts.write_text(f"{web.backends[1].v4} core-01\n{web.backends[2].v4} core-02\n")
    wait_for(daemon, {"apache1", "apache2"}, "named", 20)
    wait_until(lambda: daemon.endpoints("named")["apache1"]["address"] == f"{web.backends[1].v4}:8080", 40)
    check(web, {"b2": 50, "b3": 50})
    hosts.write_text("")
    cluster.put("/services/named/b1", f"{web.backends[0].v4}:8080")
    wait_for(daemon, {"apache1", "apache2", "b1"}, "named")


@pytest.mark.slow
@pytest.mark.cluster(members=3)
def test_a_member_is_lost(web, cluster):
    """The leader, and the one that is watched, whichever they are: each in turn is killed and comes back."""
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    hammer = web.app.start_hammer("127.0.0.1:9000")
    for member in [cluster.leader, *cluster.members]:
        other = next(one for one in cluster.members if one is not member)
        hammer.wait_for_more()
        member.kill()
        wait_until(other.answers, 20)
        drained = {"host": web.backends[0].v4, "port": 8081, "weight": 0}
        cluster.put("/services/web/b4", drained, other)
        cluster.put("/services/web/b5", {**drained, "port": 8082}, other)
        cluster.delete("/services/web/b5", other)
        cluster.delete("/services/web/b2", other)
        wait_for(daemon, {"b1", "b3", "b4"}, timeout=30)
        cluster.put("/services/web/b2", f"{web.backends[1].v4}:8080", other)
        cluster.delete("/services/web/b4", other)
        wait_for(daemon, {"b1", "b2", "b3"}, timeout=30)
        member.start()
        cluster.wait()
    result = hammer.stop()
    assert result["failed"] == 0, result


def watched(daemon):
    """The address of the member that is watched now."""
    return re.findall(r"watching at (\S+),", daemon.log())[-1]


@pytest.mark.slow
@pytest.mark.cluster(members=3)
def test_a_member_is_cut_off(web, cluster):
    """The member that is watched: from its cluster only, and from everybody."""
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    wait_for_registry(daemon, True)
    hammer = web.app.start_hammer("127.0.0.1:9000")
    for everybody in (False, True):
        member = next(one for one in cluster.members if one.address == watched(daemon))
        other = next(one for one in cluster.members if one is not member)
        hammer.wait_for_more()
        if everybody:
            member.cut()
        else:
            peers = ", ".join(one.namespace.v4 for one in cluster.members if one is not member)
            member.namespace.run("nft", f"add table ip cut; add chain ip cut in {{ type filter hook input priority 0; }};"
                                        f"add rule ip cut in ip saddr {{ {peers} }} drop")
        wait_until(other.answers, 20)
        cluster.delete("/services/web/b3", other)
        wait_for(daemon, {"b1", "b2"}, timeout=40)
        assert watched(daemon) != member.address
        cluster.put("/services/web/b3", f"{web.backends[2].v4}:8080", other)
        wait_for(daemon, {"b1", "b2", "b3"})
        if everybody:
            member.mend()
        else:
            member.namespace.run("nft", "delete table ip cut")
        cluster.wait()
    result = hammer.stop()
    assert result["failed"] == 0, result


@pytest.mark.slow
@pytest.mark.cluster(members=3)
def test_all_members_restart(web, cluster):
    daemon = start(web, cluster)
    wait_for(daemon, {"b1", "b2", "b3"})
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    for member in cluster.members:
        member.stop(wait=False)
    for member in cluster.members:
        member.process.wait()
    wait_until(lambda: registry(daemon).get("error"), 20)
    assert all(member.address in registry(daemon)["error"] for member in cluster.members)
    for member in cluster.members:
        member.start()
    cluster.wait()
    cluster.delete("/services/web/b3")
    wait_for(daemon, {"b1", "b2"}, timeout=40)
    assert registry(daemon)["connected"]
    result = hammer.stop()
    assert result["failed"] == 0, result


def answerer(lab):
    """Who answers one connection of app's."""
    with lab.app.socket() as client:
        client.connect(("127.0.0.1", 9000))
        return client.recv(64).decode().strip()


@pytest.mark.slow
def test_from_put_to_the_first_connection(web, cluster):
    """200 times, the one endpoint of a service becomes another. Prints how long that took."""
    daemon = start(web, cluster, links=("--link", "9000=one"))
    wait_for_registry(daemon, True)
    seconds = []
    for n in range(200):
        backend = web.backends[n % 2]
        began = time.monotonic()
        cluster.put("/services/one/x", f"{backend.v4}:8080")
        put = time.monotonic()
        wait_until(lambda: n or web.app.reaches("127.0.0.1:9000"))
        wait_until(lambda: answerer(web) == backend.role)
        connected = time.monotonic()
        seconds.append((connected - began, connected - put))
    for name, times in zip(("from the put", "from etcd's answer to it"), zip(*seconds)):
        times = sorted(times)
        print(f"{name}: p50 {times[100] * 1000:.1f} ms, p99 {times[198] * 1000:.1f} ms")


@pytest.mark.slow
def test_ten_thousand_keys(lab, cluster):
    """1000 services of ten keys each, on one watch; then changes of some. Prints its figures."""
    lab.serve()
    cluster.put_many((f"/services/s{service}/{n}", f"10.{service // 250 + 100}.{service % 250}.{n + 1}:80")
                     for service in range(1000) for n in range(10))
    config = lab.path / "nuncio.json"
    links = [{"listen": f"127.1.{n // 250}.{n % 250}:80", "service": f"s{n}"} for n in range(1000)]
    links.append({"listen": "9000", "service": "one"})
    config.write_text(json.dumps({"registry": cluster.uri(), "links": links}))
    daemon = lab.start("-c", config, registry=False)

    def total():
        return sum(len(link["endpoints"]) for link in daemon.links().values())

    wait_until(lambda: total() == 10_000, 30)
    print(f"{daemon.memory_kib()} KiB with 10,000 keys")
    cluster.put("/services/one/b1", f"{lab.backends[0].v4}:8080")
    wait_for(daemon, {"b1"}, "one")
    check(lab, {"b1": 10})
    for n in range(4):
        cluster.delete(f"/services/s999/{n}")
    wait_for(daemon, {"4", "5", "6", "7", "8", "9"}, "s999")
    cluster.put_many((f"/services/s{service}/more", f"10.99.{service // 250}.{service % 250 + 1}:80")
                     for service in range(1000))
    wait_until(lambda: total() == 11_000 - 4 + 1, 30, lambda: str(total()))
