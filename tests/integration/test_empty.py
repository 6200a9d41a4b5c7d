# SPDX-License-Identifier: GPL-2.0-or-later
"""What a link does while its registry names no endpoint: on_empty = hold and keep (reject is in test_traffic.py)."""

import socket

import pytest

from waiting import readable, scaled, wait_until

WAYS = [
    pytest.param("9000=web", "127.0.0.1", 9000, 4, id="loopback"),
    pytest.param("10.96.0.10:80=web", "10.96.0.10", 80, 4, id="vip"),
    pytest.param("[fd00:aa::1]:80=web", "fd00:aa::1", 80, 6, id="ipv6-vip"),
]


def start_connecting(lab, address, port):
    """A connect() that goes on in the kernel, as that of a blocking client does."""
    client = lab.app.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.setblocking(False)
    client.connect_ex((address, port))
    return client


def received(client):
    """What the server says, once connect() is through; raises the error of a connect() that failed."""
    client.settimeout(scaled(20))
    client.connect_ex(client.getpeername())  # EISCONN
    return client.recv(100).decode().strip()


def error_of(client):
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def connected(client):
    try:
        client.getpeername()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("link, address, port, family", WAYS)
def test_a_client_waits_for_the_first_endpoint(lab, link, address, port, family):
    lab.serve()
    lab.registry.write({"web": []})
    daemon = lab.start("--link", f"{link},on_empty=hold,hold_for=1h")
    assert daemon.links()["web"]["state"] == "holding"
    with start_connecting(lab, address, port) as client:
        with daemon.logs(r"link web:.*\+b1"):
            assert not connected(client) and not readable(client)
            lab.registry.write({"web": lab.endpoints(family=family)})
        wait_until(lambda: connected(client), 20)
        assert error_of(client) == 0
        assert received(client) in ("b1", "b2", "b3")
    assert daemon.links()["web"]["state"] == "serving"


def test_it_holds_before_the_registry_is_there(lab):
    lab.serve()
    daemon = lab.start("--link", "9000=web,on_empty=hold,hold_for=1h")
    with start_connecting(lab, "127.0.0.1", 9000) as client:
        with daemon.logs(r"link web:.*\+b1"):
            lab.registry.write({"web": lab.endpoints()})
        wait_until(lambda: connected(client), 20)
        assert received(client) in ("b1", "b2", "b3")


def test_holding_has_an_end(lab):
    lab.registry.write({"web": []})
    daemon = lab.start("--link", "9000=web,on_empty=hold,hold_for=500ms")
    with start_connecting(lab, "127.0.0.1", 9000) as client:
        wait_until(lambda: daemon.links()["web"]["state"] == "empty", 20)
        assert "link web: no endpoint came" in daemon.log()
        # Its next SYN is refused.
        wait_until(lambda: error_of(client) != 0, 20)
    result = lab.app.hammer("127.0.0.1:9000", count=3)
    assert result["errors"] == {"connect: Connection refused": 3}


def test_each_time_that_it_gets_empty_has_its_own_hold(web):
    daemon = web.start("--link", "9000=web,on_empty=hold,hold_for=1h")
    for _ in range(3):
        with daemon.logs(r"link web:.*-b1"):
            web.registry.write({"web": []})
        assert daemon.links()["web"]["state"] == "holding"
        with start_connecting(web, "127.0.0.1", 9000) as client:
            with daemon.logs(r"link web:.*\+b1"):
                web.registry.write({"web": web.endpoints()})
            wait_until(lambda: connected(client), 20)


def test_udp_is_refused_all_the_same(lab):
    """A dropped datagram would be an error of sendto(), and nothing would send it again."""
    lab.registry.write({"web": []})
    lab.start("--link", "9000/udp=web,on_empty=hold,hold_for=1h")
    assert lab.app.hammer("127.0.0.1:9000", count=3, udp=True)["ok"] == 0
    assert "drop" not in lab.app.table().split("chain link-web")[1].split("}")[0]


def test_a_restart_goes_on_holding(lab):
    lab.serve()
    lab.registry.write({"web": []})
    daemon = lab.start("--link", "9000=web,on_empty=hold,hold_for=1h")
    with start_connecting(lab, "127.0.0.1", 9000) as client:
        daemon.kill()
        with lab.monitor() as monitor:
            daemon = lab.start("--link", "9000=web,on_empty=hold,hold_for=1h")
        assert monitor.changes() == []
        lab.registry.write({"web": lab.endpoints()})
        wait_until(lambda: connected(client), 20)


def test_keep(web):
    daemon = web.start("--link", "9000=web,on_empty=keep", "--link", "9001=web,name=other")
    with daemon.logs(r"link web: .*on_empty=keep", r"link other:.*-b1"):
        web.registry.write({"web": []})
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
    assert web.app.hammer("127.0.0.1:9001", count=3)["ok"] == 0
    links = daemon.links()
    assert links["web"]["state"] == "stale" and "last known" in links["web"]["reason"]
    assert links["other"]["state"] == "empty"
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 150, "b2": 150}
    assert daemon.links()["web"]["state"] == "serving"


def test_keep_over_a_restart(web):
    daemon = web.start("--link", "9000=web,on_empty=keep")
    with daemon.logs(r"on_empty=keep"):
        web.registry.write({"web": []})
    daemon.kill()
    web.start("--link", "9000=web,on_empty=keep")
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == {"b1": 100, "b2": 100, "b3": 100}
