# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package and its units, in a machine with systemd: install, serve, restart, upgrade, remove."""

import base64
import json

import pytest

from waiting import wait_until

BACKENDS = {"b1": "10.77.0.11", "b2": "10.77.0.12", "b3": "10.77.0.13"}
# The machine is 10.77.0.1 on a bridge; on it, a namespace with the backends, and one for an application.
NETWORK = """
set -e
ip link add br0 type bridge mcast_snooping 0
ip link set br0 up
ip addr add 10.77.0.1/24 dev br0
ip netns add backends
ip link add b0 type veth peer name eth0 netns backends
ip link set b0 master br0 up
ip -n backends link set lo up
ip -n backends link set eth0 up
for host in 11 12 13; do ip -n backends addr add 10.77.0.$host/24 dev eth0; done
"""
# Whoever still has the former namespace open keeps the other end of its cable.
APPLICATION = """
set -e
ip link del a0 2>/dev/null || true
ip netns add app
ip link add a0 type veth peer name eth0 netns app
ip link set a0 master br0 up
ip -n app link set lo up
ip -n app addr add 10.77.0.2/24 dev eth0
ip -n app link set eth0 up
"""
LINK = {"listen": "9000", "service": "web"}


def configure(machine, *links, path="/etc/nuncio/nuncio.json"):
    machine.write(path, json.dumps({"registry": "file:/etc/nuncio/services.d", "links": links}))


@pytest.fixture(scope="module")
def host(machine):
    """The package is installed, and serves."""
    machine.run("sh", "-c", NETWORK)
    for name, address in BACKENDS.items():
        machine.run("systemd-run", "-p", "NetworkNamespacePath=/run/netns/backends", f"--unit=backend-{name}",
                    "/opt/tools/responder", name, f"{address}:8080")
    machine.run("dpkg", "-i", "/opt/packages/nuncio.deb")
    assert machine.show("nuncio", "StatusText") == "0 links, 0 endpoints"
    machine.write("/etc/nuncio/services.d/web", "".join(f"{a}:8080 id={n}\n" for n, a in BACKENDS.items()))
    configure(machine, LINK)
    machine.run("systemctl", "reload", "nuncio")
    wait_until(lambda: machine.show("nuncio", "StatusText") == "1 link, 3 endpoints", 10,
               lambda: machine.journal("nuncio"))
    return machine


def hammer(machine, target, *options, namespace=None):
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    return json.loads(machine.run(*inside, "/opt/tools/hammer", "--timeout", "10000", *options, target))


def works(machine, target="127.0.0.1:9000", **options):
    return hammer(machine, target, "--count", "30", **options)["by"] == {"b1": 10, "b2": 10, "b3": 10}


class Load:
    """Connections one after the other, while the body of the `with` runs; none of them may fail."""

    def __init__(self, machine, target="127.0.0.1:9000"):
        self.machine, self.target = machine, target

    def __enter__(self):
        self.process = self.machine.popen("/opt/tools/hammer", "--timeout", "10000", "--concurrency", "2", "--seconds",
                                          "300", self.target, stdout=-1, text=True)
        self.wait_for_more()
        return self

    def _opened(self):
        lines = self.machine.run("grep", "^Tcp:", "/proc/net/snmp").splitlines()
        keys, values = (line.split() for line in lines)
        return int(values[keys.index("ActiveOpens")])

    def wait_for_more(self, count=500):
        goal = self._opened() + count
        wait_until(lambda: self._opened() >= goal, 30, f"{count} more connections")

    def __exit__(self, *exception):
        if not exception[0]:
            self.wait_for_more()
        self.machine.run("pkill", "-TERM", "-x", "hammer")
        output, _ = self.process.communicate(timeout=60)
        result = json.loads(output)
        print(result)
        if not exception[0]:
            assert result["failed"] == 0 and result["ok"] > 1000, result


def wait_for_another(machine, unit, pid):
    """Waits for the unit to run with another process."""
    wait_until(lambda: machine.show(unit, "ActiveState") == "active" and machine.show(unit, "MainPID") not in (pid, "0"),
               30, lambda: machine.journal(unit))


def test_serves_with_few_privileges(host):
    assert works(host)
    pid = host.show("nuncio", "MainPID")
    status = dict(line.split(":\t", 1) for line in host.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
    assert int(status["CapPrm"], 16) & ~(1 << 12 | 1 << 13 | 1 << 21) == 0, "more than NET_ADMIN, NET_RAW, SYS_ADMIN"
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert host.run("id", "-un", status["Uid"].split()[0]).strip() == "nuncio"
    # What an operator sets is kept.
    host.run("nuncio", "drain", "web", "b1")
    host.run("systemctl", "restart", "nuncio")
    assert "b1" not in hammer(host, "127.0.0.1:9000", "--count", "20")["by"]
    host.run("nuncio", "undrain", "web", "b1")
    assert works(host)


@pytest.mark.parametrize("unit", ["nuncio", "nuncio@app", "nuncio-announce@web"])
def test_exposure(host, unit):
    told = host.run("systemd-analyze", "security", "--no-pager", f"{unit}.service")
    exposure = float(told.split("Overall exposure level")[1].split(": ")[1].split()[0])
    print(told)
    assert exposure <= 2.0


def test_restart_and_kill_under_load(host):
    with Load(host) as load:
        pid = host.show("nuncio", "MainPID")
        host.run("systemctl", "restart", "nuncio")
        wait_for_another(host, "nuncio", pid)
        load.wait_for_more()
        pid = host.show("nuncio", "MainPID")
        host.run("kill", "-9", pid)
        wait_for_another(host, "nuncio", pid)
        load.wait_for_more()
        host.run("systemctl", "stop", "nuncio")
        load.wait_for_more()
        host.run("systemctl", "start", "nuncio")


def test_frozen(host):
    """The watchdog ends one that stands still, and it is started again."""
    host.run("sh", "-c", "mkdir -p /run/systemd/system/nuncio.service.d; printf '[Service]\\nWatchdogSec=2\\n' "
             ">/run/systemd/system/nuncio.service.d/watchdog.conf; systemctl daemon-reload; systemctl restart nuncio")
    with Load(host):
        pid = host.show("nuncio", "MainPID")
        host.run("kill", "-STOP", pid)
        wait_for_another(host, "nuncio", pid)
    assert "Watchdog timeout" in host.journal("nuncio")
    host.run("sh", "-c", "rm -r /run/systemd/system/nuncio.service.d; systemctl daemon-reload; systemctl restart nuncio")


def test_drop_in_for_docker(host):
    """The example has what following an engine takes; without an engine the unit serves what it served."""
    host.run("sh", "-c", "groupadd -f docker; mkdir -p /run/systemd/system/nuncio.service.d; "
             "cp /usr/share/doc/nuncio/examples/docker.conf /run/systemd/system/nuncio.service.d; "
             "systemctl daemon-reload; systemctl restart nuncio")
    pid = host.show("nuncio", "MainPID")
    effective = int(host.run("sh", "-c", f"sed -n 's/^CapEff://p' /proc/{pid}/status"), 16)
    assert effective == 1 << 2 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21, hex(effective)
    docker = host.run("getent", "group", "docker").split(":")[2]
    assert docker in host.run("sh", "-c", f"sed -n 's/^Groups://p' /proc/{pid}/status").split()
    assert works(host)
    host.run("sh", "-c", "rm -r /run/systemd/system/nuncio.service.d; systemctl daemon-reload; systemctl restart nuncio")


def test_broken_configuration(host):
    pid = host.show("nuncio", "MainPID")
    host.write("/etc/nuncio/nuncio.json", '{ "links": [ broken ] }')
    assert host.attempt("systemctl", "reload", "nuncio").returncode != 0
    told = host.run("systemctl", "status", "--no-pager", "nuncio", check=False)
    assert "status=3" in told and "nuncio: /etc/nuncio/nuncio.json:1: not JSON" in told, told
    # Also where nobody asked `check` before.
    host.run("kill", "-HUP", pid)
    wait_until(lambda: "reload failed, the old configuration stays" in host.show("nuncio", "StatusText"), 10)
    assert host.show("nuncio", "MainPID") == pid and works(host)
    configure(host, LINK)
    host.run("systemctl", "reload", "nuncio")
    wait_until(lambda: host.show("nuncio", "StatusText") == "1 link, 3 endpoints", 10)


@pytest.fixture(scope="module")
def application(host):
    """A namespace with an ambassador of its own."""
    configure(host, dict(LINK, listen="7000"), path="/etc/nuncio/netns/app.json")
    host.run("sh", "-c", APPLICATION)
    host.run("systemctl", "start", "nuncio@app")


def test_ambassador_in_a_namespace(host, application):
    """One that is there, and one that is made again."""
    assert host.show("nuncio@app", "StatusText") == "1 link, 3 endpoints"
    assert works(host, "127.0.0.1:7000", namespace="app")
    # The command of the host's daemon does not mix them up.
    assert "7000" in host.run("nuncio", "status", "--control", "/run/nuncio-app/control.sock")
    assert "7000" not in host.run("nuncio", "status")
    host.run("ip", "netns", "del", "app")
    host.run("sh", "-c", APPLICATION)
    wait_until(lambda: "inet nuncio" in host.run("ip", "netns", "exec", "app", "nft", "list", "tables"), 10,
               lambda: host.journal("nuncio@app"))
    wait_until(lambda: host.show("nuncio@app", "StatusText") == "1 link, 3 endpoints", 10)
    assert works(host, "127.0.0.1:7000", namespace="app")


@pytest.fixture
def etcd(host):
    """As a unit; returns how to ask for the keys of the services."""
    if host.attempt("test", "-x", "/opt/etcd").returncode:
        pytest.skip("needs the command 'etcd'")
    started = host.attempt("systemd-run", "--unit=etcd", "--service-type=notify", "/opt/etcd", "--data-dir", "/run/etcd")
    assert started.returncode == 0, started.stderr + host.journal("etcd")

    def keys():
        question = json.dumps({"key": base64.b64encode(b"/services/").decode(),
                               "range_end": base64.b64encode(b"/services0").decode()})
        told = json.loads(host.run("python3", "-c", ASK, question))
        return [base64.b64decode(kv["key"]).decode() for kv in told.get("kvs", [])]

    yield keys
    host.run("systemctl", "stop", "etcd")


ASK = """
import socket, sys
body = sys.argv[1].encode()
connection = socket.create_connection(("127.0.0.1", 2379))
connection.sendall(b"POST /v3/kv/range HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
answer = b""
while chunk := connection.recv(65536):
    answer += chunk
print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode())
"""


def test_announcing_a_unit(host, etcd):
    key = ["/services/web/10.77.0.1:8080"]
    host.write("/etc/systemd/system/web.service",
               "[Service]\nExecStart=/opt/tools/responder web 10.77.0.1:8080\nRestart=always\nRestartSec=3\n")
    host.write("/etc/nuncio/announce/web.env", "NUNCIO_REGISTRY=etcd://127.0.0.1/services\nSERVICE=web\n"
               "ENDPOINT=10.77.0.1:8080\nOPTIONS=--check tcp --ttl 60s\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "nuncio-announce@web")
    host.run("systemctl", "start", "web")
    wait_until(lambda: etcd() == key, 20, lambda: host.journal("nuncio-announce@web"))
    wait_until(lambda: host.show("nuncio-announce@web", "StatusText").startswith("10.77.0.1:8080 is announced"))
    # Stopped: it is withdrawn before the service is, so nobody is led to one that is gone.
    host.run("systemctl", "stop", "web")
    assert etcd() == []
    assert host.show("nuncio-announce@web", "ActiveState") == "inactive"
    host.run("systemctl", "start", "web")
    wait_until(lambda: etcd() == key, 20, lambda: host.journal("nuncio-announce@web"))
    # Ended by itself: away until systemd has started it again.
    host.run("kill", "-9", host.show("web", "MainPID"))
    wait_until(lambda: etcd() == [], 20, lambda: host.journal("nuncio-announce@web"))
    wait_until(lambda: etcd() == key, 20, lambda: host.journal("nuncio-announce@web"))
    host.run("systemctl", "disable", "--now", "nuncio-announce@web")
    host.run("systemctl", "stop", "web")


def test_upgrade_under_load(host, application):
    pid = host.show("nuncio", "MainPID")
    of_app = host.show("nuncio@app", "MainPID")
    with Load(host):
        host.run("dpkg", "-i", "/opt/packages/newer.deb")
        wait_for_another(host, "nuncio", pid)
        wait_for_another(host, "nuncio@app", of_app)
    assert host.run("dpkg-query", "-W", "-f", "${Version}", "nuncio") == "99.0"
    assert works(host)


def test_remove_and_purge(host, application):
    host.run("nuncio", "weight", "web", "b1", "3")
    host.run("dpkg", "-r", "nuncio")
    # Rules go with what could keep them up to date; what was configured and set by hand stays.
    assert host.run("nft", "list", "ruleset") == ""
    assert host.run("ip", "netns", "exec", "app", "nft", "list", "ruleset") == ""
    assert host.run("cat", "/proc/sys/net/ipv4/conf/br0/route_localnet").strip() == "0"
    assert host.attempt("pgrep", "-x", "nuncio").returncode == 1
    assert host.attempt("test", "-e", "/var/lib/nuncio/state.json").returncode == 0
    assert host.attempt("test", "-e", "/etc/nuncio/nuncio.json").returncode == 0
    host.run("dpkg", "-P", "nuncio")
    left = host.run("find", "/etc", "/usr", "/lib/systemd", "/var/lib", "/run", "-xdev", "-name", "*nuncio*")
    assert left == ""
    assert "nuncio" not in host.run("systemctl", "list-units", "--all", "--type=service", "--no-pager")
