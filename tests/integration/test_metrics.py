# SPDX-License-Identifier: GPL-2.0-or-later
"""What --metrics shows: Prometheus' text, the state as JSON, and whether the daemon is alive and ready."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import lab as laboratory
from waiting import scaled, wait_until

PORT = 9977
ADDRESS = f"127.0.0.1:{PORT}"
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def ask(namespace, path, method="GET", headers=None):
    """Returns status, headers and body of a request in a namespace."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=scaled(10))
    with namespace.entered():
        connection.connect()
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def parse(text):
    """{(name, frozenset of labels): value}; no sample twice."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = (name, frozenset(LABEL.findall(labels or "")))
        assert key not in samples, line
        samples[key] = float(value)
    return samples


class Metrics:
    """One scrape."""

    def __init__(self, lab):
        status, self.headers, self.text = ask(lab.app, "/metrics")
        assert status == 200
        self.samples = parse(self.text)

    def all(self, metric, **labels):
        """The samples that have these labels, as {labels: value}."""
        return {
            key[1]: value
            for key, value in self.samples.items()
            if key[0] == metric and set(labels.items()) <= key[1]
        }

    def get(self, metric, **labels):
        """The value of the one sample that has these labels, or None."""
        found = list(self.all(metric, **labels).values())
        assert len(found) < 2, found
        return found[0] if found else None

    def by_endpoint(self, metric, **labels):
        return {dict(key)["endpoint"]: value for key, value in self.all(metric, **labels).items()}


def wait_for_metrics(lab, condition, what):
    """Scrapes until condition(metrics); what is shown may be half a second old."""

    def scrape():
        metrics = Metrics(lab)
        return metrics if condition(metrics) else None

    return wait_until(scrape, 10, what)


@pytest.fixture(scope="module")
def shown(_ground):
    """A daemon with three backends that serve, and its lab; tests leave it as they found it."""
    made = laboratory.Lab()
    try:
        made.serve()
        made.app.sysctl("net/netfilter/nf_conntrack_acct", 1)
        made.registry.write({"web": made.endpoints()})
        made.daemon = made.start("--link", "9000=web", "--metrics", ADDRESS)
        yield made
    finally:
        made.close()


def test_promtool_accepts_all_of_it(shown):
    if not shutil.which("promtool"):
        pytest.skip("needs the command 'promtool'")
    metrics = Metrics(shown)
    assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics.text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_connections_are_those_that_were_made(shown):
    before = Metrics(shown).by_endpoint("nuncio_endpoint_connections_total", link="web")
    assert shown.app.hammer("127.0.0.1:9000", count=300)["ok"] == 300
    after = wait_for_metrics(
        shown,
        lambda metrics: sum(metrics.by_endpoint("nuncio_endpoint_connections_total", link="web").values())
        == sum(before.values()) + 300,
        "300 more connections",
    )
    assert set(after.by_endpoint("nuncio_endpoint_connections_total")) == {"b1", "b2", "b3"}
    assert after.get("nuncio_endpoint_connections_total", endpoint="b1", address="10.77.0.11:8080", netns="") > 50
    assert sum(after.by_endpoint("nuncio_endpoint_share_ratio").values()) == pytest.approx(1)


def test_open_connections_and_their_bytes(shown):
    with shown.app.entered():
        held = [socket.create_connection(("127.0.0.1", 9000)) for _ in range(3)]
    try:
        wait_for_metrics(
            shown,
            lambda metrics: sum(metrics.by_endpoint("nuncio_endpoint_open_connections").values()) == 3
            and sum(metrics.by_endpoint("nuncio_endpoint_open_connections_bytes").values()) > 3 * 40,
            "three open connections",
        )
    finally:
        for connection in held:
            connection.close()


def test_states_of_links_and_endpoints(shown):
    shown.daemon.ask("drain", "web", "b2")
    try:
        metrics = wait_for_metrics(
            shown,
            lambda metrics: metrics.get("nuncio_endpoint_state", endpoint="b2", state="draining", reason="weight"),
            "b2 to drain",
        )
        assert metrics.get("nuncio_endpoint_share_ratio", endpoint="b2") == 0
        assert metrics.get("nuncio_endpoint_state", endpoint="b1") == 1
        assert metrics.get("nuncio_endpoint_state", endpoint="b1", state="up", reason="serving") == 1
        assert metrics.get("nuncio_link_state", link="web", state="serving") == 1
        assert metrics.get("nuncio_link_endpoints") == 3
        assert metrics.get("nuncio_link_serving_endpoints") == 2
        assert metrics.get("nuncio_link_refused") == 0
        assert metrics.get("nuncio_link_info", listen="127.0.0.1:9000/tcp", service="web", balance="roundrobin") == 1
    finally:
        shown.daemon.ask("undrain", "web", "b2")


def test_what_is_gone_is_not_shown(shown):
    shown.registry.write({"web": shown.endpoints()[:2]})
    try:
        metrics = wait_for_metrics(
            shown, lambda metrics: not metrics.get("nuncio_endpoint_share_ratio", endpoint="b3"), "b3 to go")
        # Connections of the other tests may still be in TIME_WAIT, which is not open.
        assert "b3" not in metrics.by_endpoint("nuncio_endpoint_connections_total")
        assert "b3" not in metrics.by_endpoint("nuncio_endpoint_retries_total")
    finally:
        shown.registry.write({"web": shown.endpoints()})
        wait_for_metrics(shown, lambda metrics: metrics.get("nuncio_link_endpoints") == 3, "b3 to come back")


def test_changes_are_counted_with_their_time(shown):
    before = Metrics(shown)
    shown.registry.write({"web": shown.endpoints(weights=[1, 2, 3])})
    try:
        after = wait_for_metrics(
            shown,
            lambda metrics: metrics.get("nuncio_programming_duration_seconds_count")
            > before.get("nuncio_programming_duration_seconds_count"),
            "the change",
        )
        for counter in ("duration_seconds_count", "messages_total", "changes_total"):
            name = f"nuncio_transaction_{counter}"
            assert after.get(name) > before.get(name), name
        assert after.get("nuncio_transaction_failures_total") == before.get("nuncio_transaction_failures_total")
        assert 0 < after.get("nuncio_programming_duration_seconds_sum") < scaled(10)
    finally:
        shown.registry.write({"web": shown.endpoints()})


def test_registry_away_and_back(shown):
    uri = shown.registry.uri
    up = Metrics(shown)
    assert up.get("nuncio_registry_up", registry=uri) == 1
    assert up.get("nuncio_registry_services", registry=uri) == 1
    shown.registry.write("{")
    try:
        down = wait_for_metrics(
            shown, lambda metrics: metrics.get("nuncio_registry_up", registry=uri) == 0, "the registry to be down")
        assert down.get("nuncio_registry_errors_total", registry=uri) > up.get("nuncio_registry_errors_total")
        assert down.get("nuncio_link_state", link="web", state="stale") == 1
        assert down.get("nuncio_link_serving_endpoints") == 3
    finally:
        shown.registry.write({"web": shown.endpoints()})
    wait_for_metrics(shown, lambda metrics: metrics.get("nuncio_registry_up") == 1, "the registry to be up")


def test_figures_of_the_process(shown):
    metrics = Metrics(shown)
    assert metrics.get("process_resident_memory_bytes") == pytest.approx(shown.daemon.memory_kib() * 1024, rel=0.5)
    assert metrics.get("process_cpu_seconds_total") > 0
    assert 5 < metrics.get("process_open_fds") < metrics.get("process_max_fds")
    boot = next(line for line in open("/proc/stat") if line.startswith("btime"))
    fields = open(f"/proc/{shown.daemon.pid}/stat").read().rpartition(")")[2].split()
    assert metrics.get("process_start_time_seconds") == pytest.approx(int(boot.split()[1]) + int(fields[19]) / 100, abs=2)
    assert len(metrics.all("nuncio_build_info")) == 1


def test_the_command_shows_the_same_metrics(shown):
    by_http, by_command = Metrics(shown).samples, parse(shown.daemon.ask("metrics"))
    assert by_http.keys() == by_command.keys()


def test_status_is_shown_as_json(shown):
    code, headers, text = ask(shown.app, "/status.json")
    assert (code, headers["Content-Type"]) == (200, "application/json")
    shown_status, asked = json.loads(text), shown.daemon.status()
    assert shown_status.keys() == asked.keys()
    assert [link["name"] for link in shown_status["ambassadors"][0]["links"]] == ["web"]
    assert shown_status["ambassadors"][0]["links"][0].keys() == asked["ambassadors"][0]["links"][0].keys()


def test_only_reading_is_possible(shown):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = ask(shown.app, "/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), method
    assert ask(shown.app, "/", "HEAD")[0] == 200
    assert ask(shown.app, "/nothing")[0] == 404
    assert ask(shown.app, "/../etc/passwd")[0] == 404


def test_headers_keep_browsers_from_more(shown):
    for path in ("/", "/metrics", "/status.json", "/healthz", "/nothing"):
        _, headers, _ = ask(shown.app, path)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store", path
        assert headers["Content-Security-Policy"].startswith("default-src 'none'"), path
        assert "unsafe" not in headers["Content-Security-Policy"], path


def test_bad_requests_harm_nobody(shown):
    for request in (b"\r\n\r\n\x00\xff GET", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                    b"GET /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\nHost: x\r\n\r\n"):
        client = shown.app.socket()
        client.connect(("127.0.0.1", PORT))
        try:
            client.sendall(request)
            client.recv(65536)
        except OSError:
            pass  # it may end the connection before it has read all
        client.close()
    assert ask(shown.app, "/healthz")[0] == 200


def test_many_connections_are_refused_and_not_kept(shown):
    clients = [shown.app.socket() for _ in range(100)]
    for client in clients:
        client.connect(("127.0.0.1", PORT))
    assert len(os.listdir(f"/proc/{shown.daemon.pid}/fd")) < 64 + 64
    for client in clients:
        client.close()
    assert ask(shown.app, "/healthz")[0] == 200


def test_a_reader_who_does_not_read_disturbs_nobody(shown):
    slow = shown.app.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.connect(("127.0.0.1", PORT))
    slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    shown.registry.write({"web": shown.endpoints(weights=[3, 2, 1])})
    wait_until(lambda: shown.daemon.endpoints("web")["b1"]["weight"] == 3, what="the change")
    assert ask(shown.app, "/metrics")[0] == 200
    shown.registry.write({"web": shown.endpoints()})
    slow.close()


@pytest.mark.lab(backends=1)
def test_reload_keeps_the_port_and_tells_of_failure(lab):
    conf = lab.path / "nuncio.json"
    good = {"registry": lab.registry.uri, "metrics": ADDRESS, "links": [{"listen": "9000", "service": "web"}]}
    conf.write_text(json.dumps(good))
    lab.registry.write({"web": lab.endpoints()})
    daemon = lab.start("-c", conf, registry=False)
    assert Metrics(lab).get("nuncio_config_last_reload_successful") == 1
    conf.write_text("{")
    with daemon.logs("the old configuration stays"):
        daemon.kill(signal.SIGHUP)
    wait_for_metrics(lab, lambda metrics: metrics.get("nuncio_config_last_reload_successful") == 0, "the failure")
    conf.write_text(json.dumps(good | {"links": [{"listen": "9001", "service": "web"}], "metrics": "127.0.0.1:9978"}))
    with daemon.logs("takes a restart", "is in force"):
        daemon.kill(signal.SIGHUP)
    metrics = wait_for_metrics(
        lab, lambda metrics: metrics.get("nuncio_config_last_reload_successful") == 1, "the reload")
    assert metrics.get("nuncio_link_info", listen="127.0.0.1:9001/tcp") == 1


@pytest.mark.lab(backends=1)
def test_ready_when_the_registry_has_answered(lab):
    with lab.backends[0].entered():
        silent = lab.keep(socket.create_server((lab.backends[0].v4, 2379)))
    daemon = lab.start("--registry", f"etcd://{lab.backends[0].v4}:2379/x", "--link", "9000=web", "--metrics", ADDRESS,
                       registry=False)
    status, _, text = ask(lab.app, "/readyz")
    assert (status, text) == (503, "a registry has not answered yet\n")
    assert ask(lab.app, "/healthz")[0] == 200
    assert Metrics(lab).get("nuncio_ready") == 0
    # Errors are answers, too: who waits for a registry that is away would wait for ever.
    silent.close()
    wait_until(lambda: ask(lab.app, "/readyz")[0] == 200, 20, "an answer")
    assert daemon.process.poll() is None


@pytest.mark.lab(backends=2)
def test_checks_and_ejections(lab):
    lab.backends[0].serve()
    lab.registry.write({"web": lab.endpoints()})
    checked = {"listen": "9000", "service": "web", "check": {"type": "tcp", "interval": "200ms", "fall": 2}}
    ejecting = {"listen": "9001", "service": "web", "name": "ejecting", "eject": "1/10s"}
    conf = lab.path / "nuncio.json"
    conf.write_text(json.dumps({"registry": lab.registry.uri, "metrics": ADDRESS, "links": [checked, ejecting]}))
    lab.start("-c", conf, registry=False)
    metrics = wait_for_metrics(
        lab,
        lambda metrics: metrics.get("nuncio_endpoint_state", link="web", endpoint="b2", state="down", reason="checks"),
        "b2 to be down",
    )
    assert metrics.by_endpoint("nuncio_endpoint_check_up", link="web") == {"b1": 1, "b2": 0}
    assert metrics.get("nuncio_link_all_down", link="web") == 0
    lab.app.hammer("127.0.0.1:9001", count=40)
    metrics = wait_for_metrics(
        lab,
        lambda metrics: metrics.get("nuncio_endpoint_state", link="ejecting", endpoint="b2", reason="failures"),
        "b2 to be ejected",
    )
    assert metrics.get("nuncio_endpoint_ejections_total", link="ejecting", endpoint="b2") == 1
    assert metrics.get("nuncio_endpoint_failures_total", link="ejecting", endpoint="b2") >= 1
    assert metrics.get("nuncio_endpoint_failures_total", link="ejecting", endpoint="b1") == 0
    assert metrics.all("nuncio_endpoint_failures_total", link="web") == {}
    # Both down: all serve, and that shows.
    lab.registry.write({"web": lab.endpoints(port=8081)})
    wait_for_metrics(lab, lambda metrics: metrics.get("nuncio_link_all_down", link="web") == 1, "all to be down")


@pytest.mark.lab(backends=1)
def test_a_port_that_is_taken(lab):
    lab.registry.write({"web": lab.endpoints()})
    with lab.app.entered():
        lab.keep(socket.create_server(("127.0.0.1", PORT)))
    done = lab.nuncio("run", "--registry", lab.registry.uri, "--link", "9000=web", "--metrics", ADDRESS, "--control",
                      "none")
    assert done.returncode == 1
    assert f"metrics: cannot listen on {ADDRESS}: Address already in use" in done.stderr
    assert lab.app.table() == ""
    done = lab.nuncio("run", "--registry", lab.registry.uri, "--link", "9000=web", "--metrics", "9977")
    assert done.returncode == 3
    assert '--metrics: "9977" is not ADDR:PORT, such as 127.0.0.1:9977' in done.stderr


DOC = laboratory.REPOSITORY / "doc"
METRIC = re.compile(r"\b(?:nuncio|process)_[a-z_]+(?=[{\[) ,]|$)", re.MULTILINE)


def known_metrics():
    source = (laboratory.REPOSITORY / "src/daemon/metrics.c").read_text()
    found = re.findall(r'\{"((?:nuncio|process)_[a-z_]+)", METRIC_([A-Z]+)', source)
    histograms = [name for name, kind in found if kind == "HISTOGRAM"]
    return {name for name, _ in found} | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def dashboard_queries():
    dashboard = json.loads((DOC / "grafana-dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert dashboard["schemaVersion"] >= 36 and len({panel["id"] for panel in panels}) == len(panels)
    return [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]


def test_dashboard_and_alerts_ask_for_metrics_that_there_are():
    for text in (*dashboard_queries(), (DOC / "alerts.yml").read_text()):
        asked = set(METRIC.findall(text))
        assert asked and asked <= known_metrics(), asked - known_metrics()


def test_promtool_accepts_the_alerts_and_the_dashboard(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("needs the command 'promtool'")
    rules = tmp_path / "dashboard.yml"  # JSON is YAML
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"query{i}", "expr": query} for i, query in enumerate(dashboard_queries())]}]}))
    for command in (["check", "rules", DOC / "alerts.yml", rules], ["test", "rules", DOC / "alerts-test.yml"]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
