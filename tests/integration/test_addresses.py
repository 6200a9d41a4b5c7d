# SPDX-License-Identifier: GPL-2.0-or-later
"""What nuncio needs beside its table (addresses, route_localnet), and who may come in: gateway, hairpin, guard."""

import json
import socket
import struct

import pytest

from waiting import readable, wait_until

VIPS = {"10.96.0.10/32", "fd00:aa::1/128"}
VIP_LINKS = ["--link", "10.96.0.10:80=web", "--link", "[fd00:aa::1]:80=web,name=six"]
ROUTE_LOCALNET = "net/ipv4/conf/eth0/route_localnet"


def cleanup(lab, **options):
    done = lab.nuncio("cleanup", **options)
    assert done.returncode == 0, done.stderr


def test_vips_are_put_on_lo_and_removed_by_cleanup(web):
    before = web.app.addresses()
    daemon = web.start(*VIP_LINKS)
    assert web.app.addresses() == before | VIPS
    daemon.stop()
    assert web.app.addresses() == before | VIPS
    cleanup(web)
    assert web.app.addresses() == before
    assert web.app.ruleset() == ""


def test_cleanup_from_the_host(web):
    web.start("--netns", web.app, *VIP_LINKS, namespace=None).stop()
    done = web.nuncio("cleanup", "--netns", web.app, namespace=None)
    assert done.returncode == 0, done.stderr
    assert not web.app.addresses() & VIPS
    assert web.app.ruleset() == ""


def test_cleanup_of_nothing(lab):
    cleanup(lab)


def test_cleanup_after_a_kill(web):
    web.start(*VIP_LINKS, "--link", "9000=web,name=local").kill()
    cleanup(web)
    assert not web.app.addresses() & VIPS
    assert web.app.sysctl(ROUTE_LOCALNET) == "0"
    assert web.app.ruleset() == ""


def test_cleanup_on_exit(web):
    daemon = web.start(*VIP_LINKS, "--link", "9000=web,name=local", "--cleanup-on-exit")
    assert web.app.sysctl(ROUTE_LOCALNET) == "1"
    daemon.stop()
    assert not web.app.addresses() & VIPS
    assert web.app.sysctl(ROUTE_LOCALNET) == "0"
    assert web.app.ruleset() == ""


def test_a_restart_without_the_link_removes_its_vip(web):
    web.start(*VIP_LINKS).kill()
    web.start("--link", "9000=web")
    assert not web.app.addresses() & VIPS
    assert web.app.reaches("127.0.0.1:9000")


def test_a_restart_with_the_link_keeps_its_vip_ours(web):
    web.start(*VIP_LINKS).kill()
    web.start(*VIP_LINKS).stop()
    cleanup(web)
    assert not web.app.addresses() & VIPS


def test_a_vip_that_was_there_is_not_ours(web):
    web.app.ip("addr add 10.96.0.10/32 dev lo")
    daemon = web.start(*VIP_LINKS)
    assert web.app.hammer("10.96.0.10:80", count=30)["by"] == {"b1": 10, "b2": 10, "b3": 10}
    daemon.stop()
    cleanup(web)
    assert web.app.addresses() & VIPS == {"10.96.0.10/32"}


def test_an_address_of_an_interface_is_a_listen_address(web):
    """A VIP may be an address that the namespace has elsewhere; it is neither moved nor doubled."""
    daemon = web.start("--link", f"{web.app.v4}:80=web")
    assert web.app.hammer(f"{web.app.v4}:80", count=30)["by"] == {"b1": 10, "b2": 10, "b3": 10}
    assert f"{web.app.v4}/32" not in web.app.addresses()
    daemon.stop()
    cleanup(web)
    assert f"{web.app.v4}/24" in web.app.addresses("eth0")


def test_two_links_on_one_vip(web):
    config = web.path / "nuncio.json"

    def configure(*ports):
        links = [{"listen": f"10.96.0.10:{port}", "service": "web", "name": f"p{port}"} for port in ports]
        config.write_text(json.dumps({"registry": web.registry.uri, "links": links}))

    configure(80, 81)
    web.start("-c", config, registry=False).stop()
    configure(80)
    web.start("-c", config, registry=False)
    assert "10.96.0.10/32" in web.app.addresses()
    assert web.app.reaches("10.96.0.10:80") and not web.app.reaches("10.96.0.10:81")


def test_route_localnet_is_set_and_restored(web):
    before = {key: web.app.sysctl(f"net/ipv4/conf/{key}/route_localnet") for key in ("all", "lo", "eth0")}
    daemon = web.start("--link", "9000=web")
    assert web.app.sysctl(ROUTE_LOCALNET) == "1"
    daemon.stop()
    cleanup(web)
    assert before == {key: web.app.sysctl(f"net/ipv4/conf/{key}/route_localnet") for key in ("all", "lo", "eth0")}


def test_route_localnet_that_was_set_is_not_ours(web):
    web.app.sysctl(ROUTE_LOCALNET, 1)
    web.start("--link", "9000=web").stop()
    cleanup(web)
    assert web.app.sysctl(ROUTE_LOCALNET) == "1"


def test_route_localnet_is_not_needed_for_vips(web):
    web.start(*VIP_LINKS)
    assert web.app.sysctl(ROUTE_LOCALNET) == "0"


@pytest.mark.lab(client=True)
def test_route_localnet_follows_a_new_way_out(web):
    """An endpoint that appears behind another interface is reached too."""
    daemon = web.start("--link", "9000=web,loss_hold=0s")
    web.client.serve("far", addresses=["10.78.0.2:8080"])
    with daemon.logs(r"link web:.*\+far"):
        web.registry.write({"web": [{"id": "far", "host": "10.78.0.2", "port": 8080}]})
    assert web.app.hammer("127.0.0.1:9000", count=10)["by"] == {"far": 10}


def test_a_clean_namespace_is_left(web):
    """Another tool's table survives nuncio and its cleanup."""
    web.app.run("nft", "add table inet mine; add chain inet mine c { type nat hook output priority -100 ; }")
    before = web.app.ruleset()
    web.start("--link", "9000=web").stop()
    cleanup(web)
    assert web.app.ruleset() == before


GATEWAY = [
    pytest.param("10.96.0.10:80", 4, False, id="tcp"),
    pytest.param("10.96.0.10:80", 4, True, id="udp"),
    pytest.param("[fd00:aa::1]:80", 6, False, id="ipv6-tcp"),
    pytest.param("[fd00:aa::1]:80", 6, True, id="ipv6-udp"),
]


@pytest.mark.lab(client=True)
@pytest.mark.parametrize("target, family, udp", GATEWAY)
def test_a_gateway_client(lab, target, family, udp):
    """The backends know no way back to the client: the source has to be the gateway's."""
    lab.serve(options=["--peer"])
    lab.registry.write({"web": lab.endpoints(family=family)})
    lab.start("--link", f"{target}{'/udp' if udp else ''}=web")
    gateway = lab.app.v6 if family == 6 else lab.app.v4
    expected = {f"{name} {gateway}": 100 for name in ("b1", "b2", "b3")}
    assert lab.client.hammer(target, count=300, udp=udp)["by"] == expected
    assert lab.app.hammer(target, count=300, udp=udp)["by"] == expected


@pytest.mark.lab(client=True)
@pytest.mark.parametrize("target, family, udp", GATEWAY)
def test_masquerade_never_keeps_the_source(lab, target, family, udp):
    lab.serve(options=["--peer"])
    for backend in lab.backends:
        backend.ip(f"route add 10.78.0.0/24 via {lab.app.v4}", f"route add fd00:78::/64 via {lab.app.v6}")
    lab.registry.write({"web": lab.endpoints(family=family)})
    lab.start("--link", f"{target}{'/udp' if udp else ''}=web,masquerade=never")
    client = "fd00:78::2" if family == 6 else "10.78.0.2"
    expected = {f"{name} {client}": 100 for name in ("b1", "b2", "b3")}
    assert lab.client.hammer(target, count=300, udp=udp)["by"] == expected


@pytest.mark.lab(client=True)
@pytest.mark.parametrize("target, family, udp", GATEWAY)
def test_an_empty_link_refuses_gateway_clients(lab, target, family, udp):
    lab.registry.write({"void": []})
    lab.start("--link", f"{target}{'/udp' if udp else ''}=void")
    step = "recv" if udp else "connect"
    assert lab.client.hammer(target, count=3, udp=udp)["errors"] == {f"{step}: Connection refused": 3}


@pytest.mark.parametrize("target, family, udp", GATEWAY)
def test_hairpin(lab, target, family, udp):
    """A backend that is its own client: without masquerade it would answer itself directly, and be refused."""
    lab.serve(options=["--peer"])
    lab.app.sysctl("net/ipv4/ip_forward", 1)
    lab.app.sysctl("net/ipv6/conf/all/forwarding", 1)
    # On this one wire the gateway would otherwise advise its client to talk to the backend directly.
    lab.app.sysctl("net/ipv4/conf/all/send_redirects", 0)
    lab.app.sysctl("net/ipv4/conf/eth0/send_redirects", 0)
    client = lab.backends[0]
    client.sysctl("net/ipv6/conf/eth0/accept_redirects", 0)
    client.ip(f"route add 10.96.0.10/32 via {lab.app.v4}", f"route add fd00:aa::1/128 via {lab.app.v6}")
    lab.registry.write({"web": lab.endpoints(family=family)})
    lab.start("--link", f"{target}{'/udp' if udp else ''}=web")
    gateway = lab.app.v6 if family == 6 else lab.app.v4
    expected = {f"{name} {gateway}": 100 for name in ("b1", "b2", "b3")}
    assert client.hammer(target, count=300, udp=udp)["by"] == expected


def datagram(destination, port):
    """An Ethernet frame with a UDP datagram from b1, without checksum of UDP."""
    mac, address = destination
    payload = b"intruder"
    udp = struct.pack("!HHHH", 5555, port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton("10.77.0.11"), socket.inet_aton(address))
    total = sum(struct.unpack("!10H", header))
    checksum = ~(total % 0xFFFF) & 0xFFFF
    frame = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01" + b"\x08\x00"
    return frame + header[:10] + struct.pack("!H", checksum) + header[12:] + udp


def test_the_guard_closes_what_route_localnet_opens(web):
    """CVE-2020-8558: a neighbour sends to 127.0.0.1 of the application's namespace."""
    web.app.sysctl(ROUTE_LOCALNET, 1)
    mac = json.loads(web.app.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
    wire = web.backends[0].socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("eth0", 0))
    private, public = (web.app.socket(kind=socket.SOCK_DGRAM) for _ in range(2))
    private.bind(("127.0.0.1", 7000))
    public.bind((web.app.v4, 7001))

    def intrude():
        wire.send(datagram((mac, "127.0.0.1"), 7000))
        # What comes behind on the same wire shows that the first has had its chance.
        wire.send(datagram((mac, web.app.v4), 7001))
        assert public.recv(100) == b"intruder"

    intrude()
    assert private.recv(100) == b"intruder"  # so the intruder is one

    web.start("--link", "9000=web")
    intrude()
    assert not readable(private)
    # Our own traffic to 127/8 is none of the guard's business.
    local = web.app.socket(kind=socket.SOCK_DGRAM)
    local.sendto(b"local", ("127.0.0.1", 7000))
    assert private.recv(100) == b"local"


@pytest.mark.lab(client=True)
def test_the_loopback_listen_is_not_open_to_others(web):
    web.start("--link", "9000=web")
    web.app.sysctl(ROUTE_LOCALNET, 1)
    wait_until(lambda: web.app.reaches("127.0.0.1:9000"))
    assert not web.client.reaches(f"{web.app.v4}:9000")
