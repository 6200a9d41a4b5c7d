# SPDX-License-Identifier: GPL-2.0-or-later
"""balance=source: a client's address decides which backend it reaches, as long as that one is there."""

import collections
import json
import signal
import socket

import pytest

from waiting import scaled, wait_until

pytestmark = pytest.mark.lab(client=True)

WAYS = [
    pytest.param(4, "10.96.0.10", "10.78.0.{}", 24, id="ipv4"),
    pytest.param(6, "fd00:aa::1", "fd00:78::1:{:x}", 64, id="ipv6"),
]
CLIENTS = range(10, 210)


class Clients:
    """Two hundred clients behind the gateway, told apart by their addresses."""

    def __init__(self, lab, family, vip, address, prefix):
        self.lab, self.vip = lab, vip
        self.sources = [address.format(number) for number in CLIENTS]
        self.listen = f"[{vip}]:80" if family == 6 else f"{vip}:80"
        lab.serve()
        lab.client.give("eth0", *(f"{source}/{prefix}" for source in self.sources))

    def reach(self):
        """Who answers each of them."""
        with self.lab.client.entered():
            return {source: self._reach_from(source) for source in self.sources}

    def _reach_from(self, source):
        with socket.create_connection((self.vip, 80), scaled(5), (source, 0)) as connection:
            return connection.recv(100).decode().strip()


@pytest.mark.parametrize("family, vip, address, prefix", WAYS)
def test_a_client_keeps_its_backend(lab, family, vip, address, prefix):
    clients = Clients(lab, family, vip, address, prefix)
    endpoints = lab.endpoints(family=family)
    lab.registry.write({"web": endpoints})
    link = f"{clients.listen}=web,balance=source"
    daemon = lab.start("--link", link)
    first = clients.reach()
    assert all(45 <= count <= 90 for count in collections.Counter(first.values()).values()), first
    assert clients.reach() == first

    # Over a restart, which changes nothing.
    daemon.kill()
    assert clients.reach() == first
    with lab.monitor() as monitor:
        daemon = lab.start("--link", link)
    assert monitor.changes() == []
    assert clients.reach() == first

    # Where one of three goes, its own clients move, and few others: 2 % here.
    lab.registry.write({"web": endpoints[:2]})
    wait_until(lambda: "b3" not in daemon.endpoints("web"))
    second = clients.reach()
    moved = [source for source in first if first[source] != second[source]]
    homeless = [source for source in first if first[source] == "b3"]
    print(f"{len(moved)} of {len(first)} clients moved, {len(homeless)} of them had to")
    assert set(homeless) <= set(moved) and len(moved) - len(homeless) <= len(first) // 50
    assert "b3" not in second.values()

    # And it comes back to where it was.
    lab.registry.write({"web": endpoints})
    wait_until(lambda: "b3" in daemon.endpoints("web"))
    assert clients.reach() == first


@pytest.mark.parametrize("family, vip, address, prefix", WAYS)
def test_weights_are_shares_of_the_clients(lab, family, vip, address, prefix):
    clients = Clients(lab, family, vip, address, prefix)
    lab.registry.write({"web": lab.endpoints([3, 1, 0], family)})
    lab.start("--link", f"{clients.listen}=web,balance=source")
    counts = collections.Counter(clients.reach().values())
    # Six standard deviations of 200 draws with a chance of 1/4.
    assert abs(counts["b2"] - 50) < 37 and counts["b3"] == 0


def test_two_gateways_agree(lab):
    """Whoever has the same endpoints has the same table, whatever it had before, and whatever they are called."""
    lab.registry.write({
        "web": lab.endpoints(),
        "again": [record | {"id": f"z{9 - n}"} for n, record in enumerate(lab.endpoints())],
    })
    lab.start("--link", "9000=web,balance=source", "--link", "9001=again,balance=source")
    slots = collections.defaultdict(list)
    for line in lab.app.table().splitlines():
        words = line.replace("elements = {", "").split()
        if words[:3] == ["tcp", ".", "127.0.0.1"] and "comment" in words and ":" in words and "goto" not in words:
            slots[words[4]].append((words[6], words[words.index(":") + 1]))
    assert len(slots["9000"]) == 2048
    assert slots["9000"] == slots["9001"]


def test_the_balance_changes_under_load(lab):
    """The number of elements goes from 3 to 2048 and back; no connection falls between two rules."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    config = lab.path / "nuncio.json"

    def configure(balance):
        config.write_text(json.dumps({
            "registry": lab.registry.uri, "links": [{"listen": "9000", "service": "web", "balance": balance}]}))

    configure("roundrobin")
    daemon = lab.start("-c", config, registry=False)
    hammer = lab.app.start_hammer("127.0.0.1:9000", concurrency=2)
    for balance, word in [("source", "jhash ip saddr mod 2048"), ("random", "numgen random mod 3"),
                          ("source", "jhash ip saddr mod 2048"), ("roundrobin", "numgen inc mod 3")]:
        hammer.wait_for_more()
        configure(balance)
        daemon.kill(signal.SIGHUP)
        wait_until(lambda: word in lab.app.table(), what=word)
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]
    assert lab.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


@pytest.mark.slow
def test_the_table_grows_under_load_and_stays(lab):
    """Eleven endpoints need more entries than ten may do with; fewer again do not move the others."""
    ports = range(8080, 8084)
    endpoints = []
    for port in ports:
        lab.serve(port=port)
        endpoints += [record | {"id": f"{record['id']}-{port}"} for record in lab.endpoints(port=port)]
    lab.registry.write({"web": endpoints[:2]})
    daemon = lab.start("--link", "9000=web,balance=source,loss_hold=0s")
    hammer = lab.app.start_hammer("127.0.0.1:9000", concurrency=2)
    for count, size in [(2, 512), (10, 512), (11, 8192), (12, 8192), (2, 8192)]:
        hammer.wait_for_more()
        lab.registry.write({"web": endpoints[:count]})
        wait_until(lambda: len(daemon.endpoints("web")) == count)
        assert f"jhash ip saddr mod {size} " in lab.app.table()
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]
