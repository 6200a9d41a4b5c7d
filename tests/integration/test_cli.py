# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what it refuses and how, check, status, --once, reload, and who may run at all."""

import json
import re
import signal
import socket
import subprocess

import pytest

from waiting import wait_until

USAGE, CONFIGURATION, KERNEL, REGISTRY = 2, 3, 4, 5
EVEN = {"b1": 100, "b2": 100, "b3": 100}


def test_version(lab):
    done = lab.nuncio("version")
    assert done.returncode == 0
    assert re.fullmatch(r"nuncio \d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["status"], ["cleanup"], ["version"]], ids=str)
def test_help(lab, command):
    done = lab.nuncio(*command, "--help")
    assert done.returncode == 0
    assert re.search("(?i)^usage: nuncio " + " ".join(command), done.stdout)


@pytest.mark.parametrize("args, message", [
    ([], "(?i)usage|command"),
    (["frobnicate"], "frobnicate"),
    (["run", "--frobnicate"], "frobnicate"),
    (["run", "--link"], "link"),
    (["run", "left-over"], "left-over"),
    (["cleanup", "left-over"], "left-over"),
    (["status", "--frobnicate"], "frobnicate"),
], ids=str)
def test_usage_errors(lab, args, message):
    done = lab.nuncio(*args)
    assert done.returncode == USAGE
    assert re.search(message, done.stderr)


# What the command line says beside --registry, and the message.
BAD_LINKS = {
    "ipv6-loopback": (["--link", "[::1]:80=web"], r"::1.*(VIP|fd00)"),
    "port-zero": (["--link", "0=web"], r"port.*\b0\b"),
    "port-large": (["--link", "65536=web"], r"65536.*65535"),
    "address": (["--link", "10.1.0.300:80=web"], r"10\.1\.0\.300"),
    "protocol": (["--link", "80/sctp=web"], r"sctp.*udp"),
    "no-service": (["--link", "80="], r"service"),
    "no-equals": (["--link", "80"], r"LISTEN=SERVICE"),
    "same-listen": (["--link", "80=web", "--link", "127.0.0.1:80=db"], r"127\.0\.0\.1:80"),
    "same-name": (["--link", "80=web,name=a", "--link", "81=web,name=a"], r"name.*\ba\b.*80=web"),
    "option": (["--link", "80=web,frobnicate=1"], r"frobnicate.*balance"),
    "value": (["--link", "80=web,balance=best"], r"best.*roundrobin"),
    "name": (["--link", "80=web,name=a b"], r"a b.*A-Z"),
    "any-address": (["--link", "0.0.0.0:80=web"], r"0\.0\.0\.0"),
    "multicast": (["--link", "224.0.0.1:80=web"], r"224\.0\.0\.1"),
}


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("args, message", BAD_LINKS.values(), ids=BAD_LINKS.keys())
def test_bad_links(web, args, message, command):
    done = web.nuncio(command, "--registry", web.registry.uri, *args)
    assert done.returncode == CONFIGURATION, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert web.app.ruleset() == ""


BAD_FILES = {
    "json": ('{\n "links": [\n}', r"nuncio\.json:3|line 3"),
    "unknown-key": ('{"lynks": []}', r"lynks.*links"),
    "unknown-link-key": ('{"links": [{"listen": "80", "service": "web", "wait": 1}]}', r"links\[0\].*wait"),
    "listen": ('{"links": [{"listen": "[::1]:80", "service": "web"}]}', r"links\[0\].*::1"),
    "no-registry": ('{"links": [{"listen": "80", "service": "web"}]}', r"registry"),
    "scheme": ('{"registry": "zk://h/", "links": [{"listen": "80", "service": "web"}]}', r"zk.*file:"),
    "docker": ('{"registry": "docker:///s?n=1", "links": [{"listen": "80", "service": "web"}]}', r"network=NAME"),
    "type": ('{"links": {"listen": "80"}}', r"links"),
}


@pytest.mark.parametrize("text, message", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_configuration_files(lab, text, message):
    config = lab.path / "nuncio.json"
    config.write_text(text)
    done = lab.nuncio("check", "-c", config)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "nuncio.json" in done.stderr and re.search(message, done.stderr), done.stderr


def test_a_configuration_file_that_is_not_there(lab):
    done = lab.nuncio("check", "-c", lab.path / "nowhere.json")
    assert done.returncode == CONFIGURATION and "nowhere.json" in done.stderr


def test_comments_in_the_configuration(web):
    config = web.path / "nuncio.json"
    config.write_text(f'{{ // where from\n"registry": "{web.registry.uri}",\n'
                      '"links": [ { "listen": "9000", "service": "web" } ] // one\n}\n')
    web.start("-c", config, registry=False)
    assert web.app.reaches("127.0.0.1:9000")


@pytest.mark.parametrize("netns", ["nt-nowhere", "/run/netns/nt-nowhere", "pid:999999999", "pid:x"])
def test_a_namespace_that_does_not_exist(web, netns):
    done = web.nuncio("run", "--registry", web.registry.uri, "--netns", netns, "--link", "9000=web", namespace=None)
    assert done.returncode in (CONFIGURATION, KERNEL), done.stderr
    assert netns.removeprefix("pid:") in done.stderr


def test_a_path_that_is_not_a_namespace(web):
    path = web.registry.path
    done = web.nuncio("run", "--registry", web.registry.uri, "--netns", path, "--link", "9000=web", namespace=None)
    assert done.returncode in (CONFIGURATION, KERNEL), done.stderr
    assert str(path) in done.stderr


@pytest.mark.parametrize("command", [["run"], ["run", "--once"], ["cleanup"]], ids=" ".join)
def test_without_cap_net_admin(web, command):
    links = ["--registry", web.registry.uri, "--link", "9000=web"] if command[0] == "run" else []
    without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    done = web.nuncio(*command, *links, prefix=without)
    assert done.returncode == KERNEL, done.stderr
    assert "CAP_NET_ADMIN" in done.stderr


def test_a_sidecar_needs_net_admin_alone(web):
    only = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all"]
    done = web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", "9000=web", prefix=only)
    assert done.returncode == 0, done.stderr
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


def test_a_second_nuncio_in_the_namespace(web):
    web.start("--link", "9000=web")
    done = web.nuncio("run", "--registry", web.registry.uri, "--link", "9001=web", "--control", web.path / "second")
    assert done.returncode == KERNEL, done.stderr
    assert re.search("(?i)another|already|own", done.stderr), done.stderr
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
    assert web.nuncio("cleanup").returncode == KERNEL
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


@pytest.mark.lab(second_app=True)
def test_a_second_nuncio_on_the_control_socket(web):
    first = web.start("--link", "9000=web")
    done = web.nuncio("run", "--registry", web.registry.uri, "--link", "9000=web", "--control", first.control,
                      namespace=web.app2)
    assert done.returncode != 0 and str(first.control) in done.stderr
    assert "web" in first.links()


def test_a_control_socket_left_by_a_killed_daemon(web):
    first = web.start("--link", "9000=web")
    first.kill()
    assert first.control.exists()
    done = web.nuncio("status", "--control", first.control)
    assert done.returncode == 1 and str(first.control) in done.stderr
    leftover = socket.socket(socket.AF_UNIX)
    try:
        next_control = web.path / f"control-{len(web.daemons) + 1}.sock"
        leftover.bind(str(next_control))
    finally:
        leftover.close()
    assert "web" in web.start("--link", "9000=web").links()


@pytest.mark.parametrize("online", [[], ["--online"]], ids=["offline", "online"])
def test_check_changes_nothing(web, online):
    addresses = web.app.addresses()
    links = ["--link", "9000=web", "--link", "10.96.0.10:80=web,name=vip"]
    with web.monitor() as monitor:
        done = web.nuncio("check", "--registry", web.registry.uri, *links, *online)
    assert done.returncode == 0, done.stderr
    if online:
        for word in ("127.0.0.1 . 9000", "10.96.0.10 . 80", "10.77.0.12 . 8080"):
            assert word in done.stdout
    assert monitor.lines == []
    assert web.app.addresses() == addresses
    assert web.app.sysctl("net/ipv4/conf/eth0/route_localnet") == "0"


def test_check_online_beside_a_running_daemon(web):
    """The dry run of what runs already: nothing to do, nothing touched."""
    web.start("--link", "9000=web")
    with web.monitor() as monitor:
        web.nuncio("check", "--online", "--registry", web.registry.uri, "--link", "9000=web")
    assert monitor.lines == []
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


def test_check_online_without_the_registry(web):
    web.registry.path.unlink()
    done = web.nuncio("check", "--online", "--registry", web.registry.uri, "--link", "9000=web")
    assert done.returncode == REGISTRY and str(web.registry.path) in done.stderr


def test_check_online_without_privilege(web):
    without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    done = web.nuncio("check", "--online", "--registry", web.registry.uri, "--link", "9000=web", prefix=without)
    assert done.returncode == KERNEL and "CAP_NET_ADMIN" in done.stderr


def test_once(web):
    done = web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", "9000=web")
    assert done.returncode == 0, done.stderr
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
    with web.monitor() as monitor:
        assert web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", "9000=web").returncode == 0
    assert monitor.changes() == []


def test_once_without_the_registry(web):
    web.registry.path.unlink()
    done = web.nuncio("run", "--once", "--registry", web.registry.uri, "--link", "9000=web")
    assert done.returncode == REGISTRY and str(web.registry.path) in done.stderr


class Reload:
    """A daemon with a configuration file, and ways to change it."""

    def __init__(self, lab):
        self.config = lab.path / "nuncio.json"
        self.registry = lab.registry.uri

    def write(self, *links):
        self.config.write_text(json.dumps({"registry": self.registry, "links": links}))

    def apply(self, daemon, *links):
        self.write(*links)
        daemon.kill(signal.SIGHUP)


WEB = {"listen": "9000", "service": "web"}
VIP = {"listen": "10.96.0.10:80", "service": "web", "name": "vip"}


def test_sighup_adds_and_removes_links_under_load(web):
    reload = Reload(web)
    reload.write(WEB)
    daemon = web.start("-c", reload.config, registry=False)
    hammer = web.app.start_hammer("127.0.0.1:9000")
    hammer.wait_for_more()
    reload.apply(daemon, WEB, VIP)
    wait_until(lambda: "vip" in daemon.links())
    wait_until(lambda: web.app.reaches("10.96.0.10:80"))
    reload.apply(daemon, WEB)
    wait_until(lambda: "vip" not in daemon.links())
    wait_until(lambda: "10.96.0.10/32" not in web.app.addresses())
    assert "vip" not in web.app.table()
    hammer.wait_for_more()
    result = hammer.stop()
    assert result["failed"] == 0, result["errors"]


def test_sighup_changes_a_link(web):
    reload = Reload(web)
    reload.write(WEB)
    daemon = web.start("-c", reload.config, registry=False)
    reload.apply(daemon, WEB | {"balance": "random"})
    wait_until(lambda: "numgen random" in web.app.table())
    reload.apply(daemon, WEB | {"listen": "9001"})
    wait_until(lambda: web.app.reaches("127.0.0.1:9001"))
    assert not web.app.reaches("127.0.0.1:9000")


def test_sighup_with_nothing_changed_sends_nothing(web):
    reload = Reload(web)
    reload.write(WEB, VIP)
    daemon = web.start("-c", reload.config, registry=False)
    with web.monitor() as monitor:
        with daemon.logs("(?i)reload|configuration"):
            reload.apply(daemon, WEB, VIP)
    assert monitor.lines == []


@pytest.mark.parametrize("broken, message", [
    ('{"links": [', "nuncio\\.json"),
    ('{"registry": "file:x", "links": [{"listen": "[::1]:80", "service": "web"}]}', "::1"),
    ('{"registry": "file:x", "links": [{"listen": "80", "service": "web"}, {"listen": "80", "service": "b"}]}', ":80"),
], ids=["json", "listen", "same-listen"])
def test_sighup_with_a_broken_file_keeps_the_old_one(web, broken, message):
    reload = Reload(web)
    reload.write(WEB)
    daemon = web.start("-c", reload.config, registry=False)
    with daemon.logs(message):
        reload.config.write_text(broken)
        daemon.kill(signal.SIGHUP)
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
    # It still follows the registry, and the repaired file.
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    reload.apply(daemon, WEB, VIP)
    wait_until(lambda: web.app.reaches("10.96.0.10:80"))


def test_a_namespace_that_is_made_again(web):
    """An application that is restarted: its old namespace must not be kept alive, and the new one gets the rules."""
    app, bridge = web.app, web.bridge
    daemon = web.start("--netns", app.name, "--link", "9000=web", "--link", "[fd00:aa::1]:80=web", namespace=None)
    for _ in range(2):
        assert app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
        before = len(daemon.log())
        subprocess.run(["ip", "netns", "del", app.name], check=True)
        daemon.wait_for_log("namespace is gone", before)
        wait_until(lambda: "app@" not in bridge.run("ip", "link", "show", "type", "veth"), 10)
        daemon.wait_for_log("there is no network namespace", before)
        assert "there is no network namespace" in daemon.status()["ambassadors"][0]["error"]
        subprocess.run(["ip", "netns", "add", app.name], check=True)
        bridge.ip(f"link add app type veth peer name eth0 netns {app}", "link set app master br0 up")
        app.ip("link set lo up", f"addr add {app.v4}/24 dev eth0", "link set eth0 up")
        daemon.wait_for_log(r"\bready\b", before, timeout=30)
        wait_until(lambda: app.reaches("127.0.0.1:9000"), 10)
        assert "fd00:aa::1/128" in app.addresses()


@pytest.mark.lab(second_app=True)
def test_sighup_with_a_namespace_that_does_not_exist_harms_no_other(web):
    config = web.path / "nuncio.json"

    def configure(*namespaces):
        ambassadors = [{"netns": str(namespace), "links": [WEB]} for namespace in namespaces]
        config.write_text(json.dumps({"registry": web.registry.uri, "ambassadors": ambassadors}))

    configure(web.app)
    daemon = web.start("-c", config, registry=False, namespace=None)
    with daemon.logs("nt-nowhere"):
        configure(web.app, "nt-nowhere")
        daemon.kill(signal.SIGHUP)
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
    configure(web.app, web.app2)
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: web.app2.reaches("127.0.0.1:9000"))
    configure(web.app2)
    daemon.kill(signal.SIGHUP)
    wait_until(lambda: web.app.table() == "", what="the table of the ambassador that left to go")
    assert web.app2.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


def test_status_json(lab):
    lab.serve()
    lab.registry.write({"web": lab.endpoints([2, 1, 0]), "void": []})
    daemon = lab.start("--link", "9000=web,name=front", "--link", "10.96.0.10:53/udp=void")
    lab.app.hammer("127.0.0.1:9000", count=30)
    wait_until(lambda: not any(endpoint["live"] for endpoint in daemon.endpoints("front").values()))
    status = daemon.status()

    assert re.match(r"\d+\.\d+", status["version"])
    (registry,) = status["registries"]
    assert registry["uri"] == lab.registry.uri and registry["connected"] is True
    assert isinstance(registry["revision"], str) and 0 <= registry["last_success_seconds"] < 60
    (ambassador,) = status["ambassadors"]
    assert isinstance(ambassador["netns"], str)
    front, void = (daemon.links()[name] for name in ("front", "void"))
    assert front.pop("endpoints") == [
        {"id": f"b{n}", "address": f"10.77.0.1{n}:8080", "weight": weight, "priority": 0, "state": state,
         "reason": front_reason, "slots": weight, "connections": connections, "retried": 0, "live": 0}
        for n, weight, state, connections, front_reason in (
            (1, 2, "up", 20, daemon.endpoints("front")["b1"]["reason"]),
            (2, 1, "up", 10, daemon.endpoints("front")["b2"]["reason"]),
            (3, 0, "draining", 0, daemon.endpoints("front")["b3"]["reason"]),
        )
    ]
    expected = {"name": "front", "listen": "127.0.0.1:9000/tcp", "service": "web", "registry": lab.registry.uri,
                "state": "serving"}
    assert expected.items() <= front.items()
    assert (void["listen"], void["state"], void["endpoints"]) == ("10.96.0.10:53/udp", "empty", [])


def test_status_text(web):
    daemon = web.start("--link", "9000=web,name=front", "--link", "9001=void")
    text = daemon.ask("status")
    for word in ("front", "127.0.0.1:9000", "web", "b1", "10.77.0.13:8080", "void", "empty"):
        assert word in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "void" not in daemon.ask("status", "front")


def test_status_of_an_unknown_link(web):
    daemon = web.start("--link", "9000=web")
    done = web.nuncio("status", "--control", daemon.control, "nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_status_without_a_daemon(lab):
    control = lab.path / "nobody.sock"
    done = lab.nuncio("status", "--control", control)
    assert done.returncode == 1 and str(control) in done.stderr


def test_control_socket_mode_and_manners(web):
    """0660; one JSON object per line, and nonsense is answered or dropped, but ends nothing."""
    daemon = web.start("--link", "9000=web")
    assert daemon.control.stat().st_mode & 0o777 == 0o660
    for nonsense in (b"\n", b"{\n", b"\xff\xfe\n", b"[]\n", b'{"command": 5}\n', b"x" * 1_000_000 + b"\n", b"{"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(5)
            peer.connect(str(daemon.control))
            try:
                peer.sendall(nonsense)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert "web" in daemon.links()
