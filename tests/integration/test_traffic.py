# SPDX-License-Identifier: GPL-2.0-or-later
"""Where new connections go: spread, weights, address families, protocols, and links without endpoints."""

import json

import pytest

from lab import tcp_counter
from waiting import wait_until

WAYS = [
    pytest.param("9000=web", "127.0.0.1:9000", 4, False, id="loopback"),
    pytest.param("10.96.0.10:80=web", "10.96.0.10:80", 4, False, id="vip"),
    pytest.param("[fd00:aa::1]:80=web", "[fd00:aa::1]:80", 6, False, id="ipv6-vip"),
    pytest.param("9000/udp=web", "127.0.0.1:9000", 4, True, id="udp-loopback"),
    pytest.param("10.96.0.10:53/udp=web", "10.96.0.10:53", 4, True, id="udp-vip"),
    pytest.param("[fd00:aa::1]:53/udp=web", "[fd00:aa::1]:53", 6, True, id="udp-ipv6-vip"),
]


@pytest.mark.parametrize("weights, expected", [
    ([1, 1, 1], {"b1": 100, "b2": 100, "b3": 100}),
    ([2, 1, 1], {"b1": 150, "b2": 75, "b3": 75}),
], ids=["equal", "weighted"])
@pytest.mark.parametrize("link, target, family, udp", WAYS)
def test_round_robin_is_exact(lab, link, target, family, udp, weights, expected):
    lab.serve()
    lab.registry.write({"web": lab.endpoints(weights, family)})
    lab.start("--link", link)
    assert lab.app.hammer(target, count=300, udp=udp)["by"] == expected


@pytest.mark.parametrize("weights", [[65535, 1, 0], [65535, 65534, 65533], [1000, 10, 1]], ids=str)
def test_large_weights_are_served_in_proportion(lab, weights):
    """The slot table is bounded; within it every weight keeps its share, and at least one slot."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints(weights)})
    lab.start("--link", "9000=web")
    slots = lab.app.table().count("tcp . 127.0.0.1 . 9000 . ") - sum(weight > 0 for weight in weights)
    result = lab.app.hammer("127.0.0.1:9000", count=slots)
    for weight, backend in zip(weights, lab.backends):
        share = result["by"].get(backend.role, 0)
        assert (share > 0) == (weight > 0)
        assert abs(share - slots * weight / sum(weights)) <= 2


def test_random_is_roughly_even(web):
    web.start("--link", "9000=web,balance=random")
    result = web.app.hammer("127.0.0.1:9000", count=3000)
    assert result["failed"] == 0
    # Six standard deviations of 3000 draws out of three.
    assert all(abs(count - 1000) < 155 for count in result["by"].values()), result["by"]
    assert "numgen random" in web.app.table()


@pytest.mark.parametrize("where", ["name", "path", "pid"])
def test_from_the_host(web, where):
    resident = web.app.serve("resident", addresses=["127.0.0.1:7000"])
    netns = {"name": web.app.name, "path": web.app.path, "pid": f"pid:{resident.pid}"}[where]
    web.start("--netns", netns, "--link", "9000=web", namespace=None)
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


@pytest.mark.lab(second_app=True)
def test_two_ambassadors_share_a_service(web):
    config = web.path / "nuncio.json"
    config.write_text(json.dumps({
        "registry": web.registry.uri,
        "ambassadors": [
            {"netns": web.app.name, "links": [{"listen": "9000", "service": "web"}]},
            {"netns": str(web.app2.path), "links": [{"listen": "10.96.0.10:80", "service": "web"}]},
        ],
    }))
    daemon = web.start("-c", config, namespace=None, registry=False)
    daemon.wait_for_log(r"\bready\b[^\0]*\bready\b")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert web.app2.hammer("10.96.0.10:80", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}

    web.registry.write({"web": web.endpoints()[:2]})
    wait_until(lambda: "b3" not in daemon.endpoints("web", 0) and "b3" not in daemon.endpoints("web", 1))
    assert web.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b2": 50}
    assert web.app2.hammer("10.96.0.10:80", count=100)["by"] == {"b1": 50, "b2": 50}


def test_two_links_to_one_service(web):
    """The round robins are apart: the one's requests do not move the other's."""
    web.start("--link", "9000=web,name=one", "--link", "9001=web,name=two")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert web.app.hammer("127.0.0.1:9001", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


def test_the_environment_is_enough(web):
    settings = [f"NUNCIO_REGISTRY={web.registry.uri}", "NUNCIO_LINKS=9000=web 9001=web,name=again"]
    web.start(registry=False, prefix=["env", *settings])
    assert web.app.reaches("127.0.0.1:9000") and web.app.reaches("127.0.0.1:9001")


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize("listen, target", [
    ("9000", "127.0.0.1:9000"),
    ("10.96.0.10:80", "10.96.0.10:80"),
    ("[fd00:aa::1]:80", "[fd00:aa::1]:80"),
])
def test_an_empty_link_refuses_at_once(lab, listen, target, udp):
    lab.registry.write({"void": []})
    daemon = lab.start("--link", f"{listen}{'/udp' if udp else ''}=void")
    # A listener of the application's own must not hide that the service has nothing.
    lab.app.serve("own", addresses=[target])
    result = lab.app.hammer(target, count=5, udp=udp)
    step = "recv" if udp else "connect"
    assert result["errors"] == {f"{step}: Connection refused": 5}
    # Not to a SYN that had to be sent again, after a second.
    assert tcp_counter(daemon.pid, "RetransSegs") == 0


def test_empty_and_back(web):
    daemon = web.start("--link", "9000=web")
    with daemon.logs(r"link web:.*-b1"):
        web.registry.write({"web": []})
    assert web.app.hammer("127.0.0.1:9000", count=3)["errors"] == {"connect: Connection refused": 3}
    assert daemon.links()["web"]["state"] == "empty"
    with daemon.logs(r"link web:.*\+b1"):
        web.registry.write({"web": web.endpoints()})
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}


def test_an_unknown_service_is_an_empty_link(web):
    web.start("--link", "9000=web", "--link", "9001=nowhere")
    assert web.app.hammer("127.0.0.1:9001", count=3)["errors"] == {"connect: Connection refused": 3}
    assert web.app.reaches("127.0.0.1:9000")


def test_weight_zero_gets_nothing_new(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints([1, 0, 1])})
    daemon = lab.start("--link", "9000=web")
    assert lab.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b3": 50}
    assert daemon.endpoints("web")["b2"]["state"] == "draining"


def test_draining_leaves_open_connections_alone(lab):
    for backend in lab.backends:
        backend.serve(options=["--echo"])
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("--link", "9000=web")
    connection = lab.app.socket()
    connection.connect(("127.0.0.1", 9000))
    connection.send(b"before")
    assert connection.recv(100) == b"before"
    with daemon.logs("link web:"):
        lab.registry.write({"web": lab.endpoints([0, 0, 0])})
    connection.send(b"draining")
    assert connection.recv(100) == b"draining"
    with daemon.logs("link web:"):
        lab.registry.write({"web": []})
    connection.send(b"gone")
    assert connection.recv(100) == b"gone"


def test_the_lowest_priority_serves(lab):
    lab.serve()
    first, second, third = lab.endpoints()
    lab.registry.write({"web": [first | {"priority": 1}, second | {"priority": 1}, third | {"priority": 2}]})
    daemon = lab.start("--link", "9000=web,loss_hold=0s")
    assert lab.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b1": 50, "b2": 50}
    with daemon.logs("link web:"):
        lab.registry.write({"web": [third | {"priority": 2}]})
    assert lab.app.hammer("127.0.0.1:9000", count=100)["by"] == {"b3": 100}


def test_a_link_takes_the_endpoints_of_its_family(lab):
    lab.serve()
    four, six = lab.endpoints()[0], lab.endpoints(family=6)[1]
    lab.registry.write({"web": [four, six]})
    lab.start("--link", "9000=web,name=four", "--link", "[fd00:aa::1]:80=web,name=six")
    assert lab.app.hammer("127.0.0.1:9000", count=10)["by"] == {"b1": 10}
    assert lab.app.hammer("[fd00:aa::1]:80", count=10)["by"] == {"b2": 10}


def test_concurrent_clients_lose_nothing(web):
    web.start("--link", "9000=web")
    result = web.app.hammer("127.0.0.1:9000", count=6000, concurrency=16)
    assert result["failed"] == 0
    assert result["by"] == {"b1": 2000, "b2": 2000, "b3": 2000}


def test_counters_count_connections(web):
    daemon = web.start("--link", "9000=web", "--link", "10.96.0.10:53/udp=web,name=dns")
    web.app.hammer("127.0.0.1:9000", count=30)
    web.app.hammer("10.96.0.10:53", count=60, udp=True)
    assert [e["connections"] for e in daemon.endpoints("web").values()] == [10, 10, 10]
    assert [e["connections"] for e in daemon.endpoints("dns").values()] == [20, 20, 20]
    # A change of another endpoint does not forget what was counted.
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    assert [e["connections"] for e in daemon.endpoints("web").values()] == [10, 10]


def test_comments_name_links_and_endpoints(web):
    web.start("--link", "9000=web,name=front")
    table = web.app.table()
    for comment in ('"front"', '"front/b1"', '"front/b2"', '"front/b3"'):
        assert f"comment {comment}" in table
    assert "chain link-front" in table
