# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes, crashes and restarts under load, and how little is said to the kernel about them."""

import os
import random
import re
import signal
import subprocess

import pytest

from daemon import PLAIN
from waiting import scaled, wait_until

MIXED_LINKS = ["9000=web", "10.96.0.10:80=web,name=vip", "[fd00:aa::1]:80=web6", "9000/udp=web,name=udp",
               "9001=weighted,balance=random", "9002=void", "9003=web,masquerade=always,name=always"]


def mixed_registry(lab):
    return {"web": lab.endpoints(), "web6": lab.endpoints(family=6), "weighted": lab.endpoints([3, 2, 0]), "void": []}


def links(*definitions):
    return [argument for link in definitions for argument in ("--link", link)]


class Churn:
    """Random changes of a set of live endpoints; each one adds, removes or reweights exactly one of them."""

    def __init__(self, pool, seed):
        print(f"churn: NUNCIO_SEED={seed}")
        self.random = random.Random(seed)
        self.pool = pool
        self.weights = {record["id"]: 1 for record in pool}

    def step(self):
        record = self.random.choice(self.pool)["id"]
        choices = {0, 1, 2, 3} - {self.weights.get(record, 0)}
        weight = self.random.choice(sorted(choices))
        if not weight and len(self.weights) == 1:
            return self.step()
        self.weights.pop(record, None)
        if weight:
            self.weights[record] = weight
        return self.records()

    def records(self):
        return [record | {"weight": self.weights[record["id"]]} for record in self.pool if record["id"] in self.weights]


@pytest.mark.slow
def test_a_thousand_changes_under_load(lab):
    pool = []
    for port in (8080, 8081):
        for backend, record in zip(lab.backends, lab.endpoints(port=port)):
            record["id"] += f"-{port}"
            backend.serve(record["id"], port=port)
            pool.append(record)
    churn = Churn(pool, int(os.environ.get("NUNCIO_SEED", "1")))
    lab.registry.write({"web": churn.records()})
    daemon = lab.start("--link", "9000=web,loss_hold=0s")
    hammer = lab.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    for n in range(1000):
        with daemon.logs("link web:"):
            lab.registry.write({"web": churn.step()}, in_place=n % 4 == 0)
    result = hammer.stop()
    print(result)
    assert result["failed"] == 0, result["errors"]

    total = sum(churn.weights.values())
    expected = {record: 20 * weight for record, weight in churn.weights.items()}
    assert lab.app.hammer("127.0.0.1:9000", count=20 * total)["by"] == expected


def test_kill_and_restart_under_load(web):
    daemon = web.start("--link", "9000=web")
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    daemon.kill()
    hammer.wait_for_more()
    web.start("--link", "9000=web")
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_rules_outlive_the_daemon(web, end):
    daemon = web.start("--link", "9000=web")
    daemon.kill(end)
    assert daemon.wait() == (-end if end == signal.SIGKILL else 0)
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_with_nothing_changed_sends_nothing(lab, end):
    lab.registry.write(mixed_registry(lab))
    daemon = lab.start(*links(*MIXED_LINKS))
    daemon.kill(end)
    daemon.wait()
    before = lab.app.table()
    with lab.monitor() as monitor:
        lab.start(*links(*MIXED_LINKS))
    assert monitor.changes() == []
    assert lab.app.table() == before


def test_a_restart_sends_what_changed_meanwhile(web):
    before = web.endpoints()
    moved = before[:2] + [before[2] | {"port": 8081}]
    web.backends[2].serve("moved", port=8081)
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=gone")
    daemon.kill()
    web.registry.write({"web": moved})
    with web.monitor() as monitor:
        web.start("--link", "9000=web")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "moved": 100}
    assert "gone" not in web.app.table()
    assert not web.app.reaches("127.0.0.1:9001")
    untouched = [line for line in monitor.changes() if "10.77.0.11" in line and ". 9000 ." in line]
    assert untouched == []


def test_a_start_without_the_registry_goes_on_with_the_kernels_rules(web):
    web.start("--link", "9000=web").kill()
    web.registry.path.unlink()
    with web.monitor() as monitor:
        daemon = web.start("--link", "9000=web", wait=False)
        daemon.wait_for_log(re.escape(str(web.registry.path)))
        wait_until(lambda: daemon.control.exists())
    assert monitor.changes() == []
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert daemon.links()["web"]["state"] == "stale"
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b2": 50}


@pytest.mark.parametrize("balance", ["roundrobin", "source"])
def test_a_start_without_the_registry_keeps_weights_draining_and_standby(lab, balance):
    lab.serve()
    link = f"9000=web,balance={balance}"
    heavy, light, drained = lab.endpoints([3, 2, 0])
    standby = {"id": "b4", "host": "10.77.0.14", "port": 8080, "priority": 1}
    lab.registry.write({"web": [heavy, light, drained, standby]})
    lab.start("--link", link).kill()
    lab.registry.path.unlink()
    with lab.monitor() as monitor:
        daemon = lab.start("--link", link, wait=False)
        daemon.wait_for_log(re.escape(str(lab.registry.path)))
        wait_until(lambda: daemon.control.exists())
        states = {name: endpoint["state"] for name, endpoint in daemon.endpoints("web").items()}
    assert monitor.changes() == []
    assert states == {"b1": "up", "b2": "up", "b3": "draining", "b4": "draining"}
    if balance == "roundrobin":
        assert lab.app.hammer("127.0.0.1:9000", count=500)["by"] == {"b1": 300, "b2": 200}


def test_others_cannot_change_the_table(web):
    """The table is owned: a firewall manager that flushes everything spares it."""
    daemon = web.start("--link", "9000=web")
    if "flags owner" not in web.app.ruleset():
        pytest.skip("this kernel has no table ownership")
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    web.app.run("nft", "add table inet foreign")
    web.app.run("nft", "flush", "ruleset", check=False)
    web.app.run("nft", "delete", "table", "inet", "nuncio", check=False)
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})


DAMAGE = [
    "flush table inet nuncio",
    "flush chain inet nuncio output",
    "flush chain inet nuncio link-web",
    "flush map inet nuncio slots4-0",
    "flush set inet nuncio endpoints4-0",
    "flush map inet nuncio policies4",
    "flush chain inet nuncio count4-0",
    "flush map inet nuncio services4",
    "add rule inet nuncio output counter drop",
    "insert rule inet nuncio linked4 accept",
    "add chain inet nuncio foreign",
    "add element inet nuncio slots4-0 { tcp . 127.0.0.1 . 9000 . 3 : 10.77.0.99 . 1 }",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_restart_repairs_the_table(web, damage):
    """While no daemon runs, nobody owns the table, and anybody may change it."""
    daemon = web.start("--link", "9000=web")
    whole = web.app.table()
    daemon.kill()
    web.app.run("nft", damage)
    web.start("--link", "9000=web")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert sorted(web.app.table().splitlines()) == sorted(whole.splitlines())


def test_a_restart_after_the_table_was_deleted(web):
    web.start("--link", "9000=web").kill()
    web.app.run("nft", "flush", "ruleset")
    web.start("--link", "9000=web")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


FORMER = """
table inet nuncio {
    comment "nuncio 2"
    map slots4-0 {
        typeof meta l4proto . ip daddr . th dport . numgen inc mod 2 : ip daddr . th dport
        elements = { tcp . 127.0.0.1 . 9000 . 0 comment "web/b1" : 10.77.0.11 . 8080,
                     tcp . 127.0.0.1 . 9000 . 1 comment "web/b2" : 10.77.0.12 . 8080 }
    }
    set endpoints4 {
        type inet_proto . ipv4_addr . inet_service . ipv4_addr . inet_service
        counter
        elements = { tcp . 127.0.0.1 . 9000 . 10.77.0.11 . 8080 comment "web/b1",
                     tcp . 127.0.0.1 . 9000 . 10.77.0.12 . 8080 comment "web/b2",
                     tcp . 127.0.0.1 . 9000 . 10.77.0.13 . 8080 comment "web/b3" }
    }
    chain link-web { dnat ip to meta l4proto . ip daddr . th dport . numgen inc mod 2 map @slots4-0; }
    map services4 {
        type inet_proto . ipv4_addr . inet_service : verdict
        elements = { tcp . 127.0.0.1 . 9000 comment "web" : goto link-web }
    }
}
"""


def test_a_table_of_the_former_shape_is_taken_over(web):
    """With the registry away, its endpoints are all that is known; b3 is a draining one."""
    web.app.run("nft", "-f", "-", input=FORMER)
    web.registry.path.unlink()
    web.start("--link", "9000=web")
    assert web.app.hammer("127.0.0.1:9000", count=200)["by"] == {"b1": 100, "b2": 100}
    assert "web/b3" in web.app.table()
    assert "set endpoints4 {" not in web.app.table()


def test_a_table_of_another_shape_is_replaced(web):
    """As a former version, or somebody else under our name, might have left."""
    web.app.run("nft", "add table inet nuncio { map services4 { type ipv4_addr : verdict; }; chain x { }; }")
    web.start("--link", "9000=web")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert "chain x" not in web.app.table()


def test_a_no_op_sends_and_logs_nothing(web):
    daemon = web.start("--link", "9000=web")
    since = len(daemon.log())
    with web.monitor() as monitor:
        web.registry.write({"web": web.endpoints()})
        web.registry.write({"web": list(reversed(web.endpoints()))}, in_place=True)
        # A real change behind the two shows that they have been read.
        with daemon.logs(r"link web:.*-b3"):
            web.registry.write({"web": web.endpoints()[:2]})
    assert daemon.log(since).count("link web:") == 1
    assert not any("10.77.0.11" in line for line in monitor.changes())


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "reweighted"])
def test_a_change_among_a_thousand_endpoints_is_a_handful_of_messages(lab, change):
    many = [{"id": f"e{n}", "host": f"10.88.{n // 250}.{n % 250 + 1}", "port": 80} for n in range(1000)]
    changed = {
        "added": many + [{"id": "new", "host": "10.88.9.9", "port": 80}],
        "removed": many[:500] + many[501:],
        "replaced": many[:500] + [many[500] | {"host": "10.88.9.9"}] + many[501:],
        "reweighted": many[:500] + [many[500] | {"weight": 2}] + many[501:],
    }[change]
    lab.registry.write({"web": many})
    daemon = lab.start("--link", "9000=web")
    with lab.monitor() as monitor:
        with daemon.logs("link web:"):
            lab.registry.write({"web": changed})
    print("\n".join(monitor.lines))
    assert 1 <= len(monitor.changes()) <= 8


class Strace:
    """System calls of a daemon while the body of the `with` runs."""

    def __init__(self, namespace, daemon, path, calls):
        self.daemon, self.path = daemon, path
        # Inside the namespace it knows the netlink sockets, which it names by their protocol.
        argv = ["strace", "-f", "-yy", "-s", "64", "-e", f"trace={calls}", "-o", path, "-p", daemon.pid]
        self.process = namespace.popen(*argv, stderr=subprocess.DEVNULL)

    def __enter__(self):
        wait_until(self._attached, what="strace to attach")
        return self

    def _attached(self):
        with open(f"/proc/{self.daemon.pid}/status") as status:
            return f"TracerPid:\t{self.process.pid}" in status.read()

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(scaled(5))
        self.lines = self.path.read_text().splitlines()
        print("\n".join(self.lines))


@pytest.mark.skipif(not PLAIN, reason="strace sees the memory checker's calls too")
@pytest.mark.parametrize("changed", [{"port": 8081}, {"weight": 2}, None], ids=["moved", "reweighted", "removed"])
def test_a_change_is_one_batch_on_the_open_socket(web, changed):
    endpoints = web.endpoints()
    daemon = web.start("--link", "9000=web")
    with Strace(web.app, daemon, web.path / "strace", "sendto,sendmsg,sendmmsg,write,socket,close") as strace:
        with daemon.logs("link web:"):
            web.registry.write({"web": endpoints[:2] + ([endpoints[2] | changed] if changed else [])})
    batches = [line for line in strace.lines if "NFNL_MSG_BATCH_BEGIN" in line]
    assert len(batches) == 1
    assert not [line for line in strace.lines if re.search(r"\bsocket\(", line)]
    assert not [line for line in strace.lines if re.search(r"close\(\d+<(socket|NETLINK|UNIX|UDP|TCP)", line)]


@pytest.mark.skipif(not PLAIN, reason="the figures are those of a plain build")
def test_ten_thousand_links(lab):
    """10,000 links with 10 endpoints each from nothing, and a change of one endpoint. Prints its figures."""
    def service(link):
        return [{"id": f"e{n}", "host": f"10.{100 + link // 250}.{link % 250}.{n + 1}", "port": 80} for n in range(10)]

    services = {f"s{link}": service(link) for link in range(10_000)}
    lab.backends[0].serve()
    lab.registry.write(services)
    config = lab.path / "nuncio.json"
    definitions = ",".join(f'{{"listen": "127.1.{n // 250}.{n % 250}:80", "service": "s{n}"}}' for n in range(10_000))
    defaults = '"defaults": {"loss_hold": "0s"}'
    config.write_text(f'{{"registry": "{lab.registry.uri}", {defaults}, "links": [{definitions}]}}')
    daemon = lab.start("-c", config, registry=False, wait=False)
    daemon.wait_for_log(r"\bready\b", timeout=30)
    memory = daemon.memory_kib()
    services["s9999"] = lab.endpoints()[:1]
    with daemon.logs(r"link s9999:.*\+b1"):
        lab.registry.write(services)
    assert lab.app.hammer("127.1.39.249:80", count=10)["by"] == {"b1": 10}
    print(f"{memory} KiB resident when ready, {daemon.memory_kib()} KiB after the change")
