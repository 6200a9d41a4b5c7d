# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Docker engine: as a registry, its containers' labels, and nuncio as a sidecar."""

import contextlib
import os
import pathlib
import random
import signal
import time

import pytest

import engine as docker
from daemon import PLAIN
from waiting import wait_until

# The same test for longer, and with more containers.
CHURN_SECONDS = float(os.environ.get("CHURN_SECONDS", "6"))
CHURN_CONTAINERS = int(os.environ.get("CHURN_CONTAINERS", "10"))
CHURN_LABELLED = max(2, CHURN_CONTAINERS * 2 // 5)

WEB = ("nuncio.service=web", "nuncio.port=8080")
WEB_LINK = ("nuncio.link.9000=web,min_healthy=0",)

pytestmark = pytest.mark.lab(backends=0)


@pytest.fixture(scope="module")
def _engine(_ground):
    obstacle = docker.obstacle()
    if obstacle:
        pytest.skip(obstacle)
    try:
        made = docker.Engine()
    except AssertionError as failure:
        pytest.skip(f"dockerd cannot run here: {str(failure)[-300:]}")
    yield made
    made.close()


@pytest.fixture
def engine(_engine, lab):
    lab.registry.write({})
    yield _engine
    _engine.remove_all()


def start_agent(lab, engine, *args, registry=None):
    """nuncio on the host, following the engine."""
    args = ["--docker", engine.socket, *(["--registry", registry] if registry else []), *args]
    daemon = lab.start(*args, namespace=None, registry=not registry, wait=False)
    wait_until(lambda: pathlib.Path(daemon.control).exists(), 10, daemon.log)
    return daemon


def ids(daemon, link="web"):
    """The endpoints that serve, of all ambassadors' links of that name."""
    return {
        endpoint["id"]
        for ambassador in daemon.status()["ambassadors"]
        for one in ambassador["links"]
        for endpoint in one["endpoints"]
        if one["name"] == link and endpoint["state"] == "up"
    }


def wait_for_ids(daemon, expected, link="web"):
    wait_until(lambda: ids(daemon, link) == expected, 15, lambda: f"{expected}: {ids(daemon, link)}\n{daemon.log()}")


def wait_for_links(container, expected):
    wait_until(lambda: container.links() == expected, 15, lambda: f"{expected} in {container.name}: {container.links()}")


def held_namespaces(daemon):
    """How many network namespaces it keeps alive. (Connections to the engine are kept, so those are not counted.)"""
    file_system, count = os.stat("/proc/self/ns/net").st_dev, 0
    for number in os.listdir(f"/proc/{daemon.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.stat(f"/proc/{daemon.pid}/fd/{number}").st_dev == file_system
    return count


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def containers(daemon):
    """{name: names of links} of the ambassadors in status."""
    return {
        ambassador["container"]: {link["name"] for link in ambassador["links"]}
        for ambassador in daemon.status()["ambassadors"]
    }


def test_the_engine_is_registry_and_says_who_gets_links(lab, engine):
    app = engine.run("app", labels=WEB_LINK)
    for i in range(3):
        engine.serve(f"b{i}", labels=WEB)
    daemon = start_agent(lab, engine, registry=engine.uri)
    wait_for_ids(daemon, {"b0", "b1", "b2"})
    assert app.hammer(count=300)["by"] == {"b0": 100, "b1": 100, "b2": 100}
    registry = daemon.status()["registries"][0]
    assert registry["connected"] and registry["uri"] == engine.uri


def test_only_who_can_serve_is_an_endpoint(lab, engine):
    engine.run("app", labels=WEB_LINK)
    daemon = start_agent(lab, engine, registry=f"{engine.uri}?network=bridge")
    engine.serve("plain", labels=WEB)
    engine.serve("checked", labels=WEB, options=["--health-cmd=test -e /tmp/good", "--health-interval=200ms"])
    engine.serve("registrators", labels=["SERVICE_NAME=web"], options=["--expose=8080"])
    engine.serve("portless", labels=["nuncio.service=web"])
    wait_for_ids(daemon, {"plain", "registrators"})
    daemon.wait_for_log("container portless: it exposes no port: give it the label nuncio.port; skipped")
    engine.docker("exec", "checked", "/bin/touch", "/tmp/good")
    wait_for_ids(daemon, {"plain", "registrators", "checked"})
    engine.docker("exec", "checked", "/bin/rm", "/tmp/good")
    wait_for_ids(daemon, {"plain", "registrators"})
    engine.docker("pause", "plain")
    wait_for_ids(daemon, {"registrators"})
    engine.docker("unpause", "plain")
    engine.docker("rename", "plain", "renamed")
    wait_for_ids(daemon, {"renamed", "registrators"})
    engine.docker("network", "disconnect", "bridge", "renamed")
    wait_for_ids(daemon, {"registrators"})
    engine.docker("network", "connect", "bridge", "renamed")
    engine.docker("stop", "-t", "0", "registrators")
    wait_for_ids(daemon, {"renamed"})


def test_labels_make_links_and_bad_ones_are_left_out(lab, engine):
    lab.registry.write({"web": ["10.0.0.1:80"], "db": ["10.0.0.2:80"]})
    daemon = start_agent(lab, engine)
    app = engine.run(
        "app",
        labels=["nuncio.link.9000=web,balance=random", "connect.5432=db", "nuncio.link.0=web", "nuncio.lnk.80=web"],
    )
    wait_for_links(app, {"9000": "web", "5432": "db"})
    assert containers(daemon) == {"app": {"web", "db"}}
    daemon.wait_for_log(r'container app: label nuncio\.link\.0=web: listen: .* from 1 to 65535')
    daemon.wait_for_log(r"container app: label nuncio\.lnk\.80: .* are accepted")
    # The one that shares its namespace adds what is not taken.
    engine.run("side", labels=["connect.6379=web", "connect.9000=db"], options=["--network=container:app"])
    wait_for_links(app, {"9000": "web", "5432": "db", "6379": "web-6379"})
    assert containers(daemon) == {"app+side": {"web", "db", "web-6379"}}
    daemon.wait_for_log(r"container side: label connect\.9000=db: listens on 127\.0\.0\.1:9000/tcp, and so does")
    engine.docker("rm", "-f", "side")
    wait_for_links(app, {"9000": "web", "5432": "db"})
    daemon.ask("drain", "web", "10.0.0.1:80", "--netns", "app")
    assert daemon.links()["web"]["state"] == "empty" and "container:app" in lab.state(None).read_text()
    engine.docker("rm", "-f", "app")
    wait_until(lambda: not containers(daemon) and not held_namespaces(daemon), 10)
    assert "container:app" not in lab.state(None).read_text()
    assert daemon.log().count("label nuncio.link.0=web") == 1
    assert "error" not in daemon.log()


def test_a_rename_and_a_new_start_of_nuncio_leave_the_table_alone(lab, engine):
    engine.serve("b0", labels=WEB)
    app = engine.run("app", labels=WEB_LINK)
    daemon = start_agent(lab, engine, registry=engine.uri)
    wait_for_ids(daemon, {"b0"})
    hammer = app.start_hammer(seconds=60)
    hammer.wait_for_more(50)
    engine.docker("rename", "app", "other")
    wait_until(lambda: "other" in containers(daemon), 10)
    daemon.kill()
    hammer.wait_for_more(50)
    daemon = start_agent(lab, engine, registry=engine.uri)
    daemon.wait_for_log(r"container:other: ready: .*took over")
    hammer.wait_for_more(50)
    result = hammer.stop()
    assert result["failed"] == 0, result
    assert "made the table" not in daemon.log()


def test_a_container_that_is_started_again_gets_its_links_again(lab, engine):
    lab.registry.write({"web": ["10.0.0.1:80"]})
    daemon = start_agent(lab, engine)
    app = engine.run("app", labels=WEB_LINK)
    wait_for_links(app, {"9000": "web"})
    engine.docker("restart", "-t", "0", "app")
    app = docker.Container(engine, "app")
    wait_for_links(app, {"9000": "web"})
    wait_until(lambda: held_namespaces(daemon) == 1, 10)


def test_an_engine_that_is_away_changes_nothing_and_is_caught_up_with(lab, engine):
    engine.serve("b0", labels=WEB)
    app = engine.run("app", labels=WEB_LINK)
    gone = engine.run("gone", labels=WEB_LINK)
    daemon = start_agent(lab, engine, registry=engine.uri)
    wait_for_ids(daemon, {"b0"})
    wait_for_links(gone, {"9000": "web"})
    app_pid, gone_pid = app.pid, gone.pid
    hammer = app.start_hammer(seconds=60)
    hammer.wait_for_more(50)
    engine.stop()
    wait_until(lambda: daemon.status()["docker"].get("error"), 10)
    os.kill(gone_pid, signal.SIGKILL)
    hammer.wait_for_more(50)
    assert set(containers(daemon)) >= {"app"} and ids(daemon) == {"b0"}
    engine.start()
    wait_until(lambda: "error" not in daemon.status()["docker"] and set(containers(daemon)) == {"app"}, 30, daemon.log)
    late = engine.run("late", labels=WEB_LINK)
    wait_for_links(late, {"9000": "web"})
    result = hammer.stop()
    assert result["failed"] == 0 and app.pid == app_pid, result


def run_sidecar(engine, lab, options=()):
    return engine.run(
        "sidecar",
        "/bin/nuncio",
        "run",
        options=[
            "--network=container:app",
            "--cap-add=NET_ADMIN",
            f"--volume={lab.path}:/registry:ro",
            "--env=NUNCIO_REGISTRY=file:/registry/services.json",
            "--env=NUNCIO_LINKS=9000=web",
            *options,
        ],
    )


def test_a_sidecar_is_configured_by_its_environment(lab, engine):
    app = engine.run("app")
    backends = [engine.serve(f"b{i}") for i in range(3)]
    lab.registry.write({"web": [{"id": b.name, "host": b.address, "port": 8080} for b in backends]})
    run_sidecar(engine, lab)
    wait_for_links(app, {"9000": "web"})
    engine.docker("exec", "sidecar", "/bin/nuncio", "wait", "web", "--timeout", "10s")
    assert app.hammer(count=300)["by"] == {"b0": 100, "b1": 100, "b2": 100}
    hammer = app.start_hammer(seconds=60)
    for action in (["kill", "sidecar"], ["start", "sidecar"], ["restart", "-t", "5", "sidecar"]):
        hammer.wait_for_more(50)
        engine.docker(*action)
    engine.docker("exec", "sidecar", "/bin/nuncio", "wait", "web", "--timeout", "10s")
    hammer.wait_for_more(50)
    result = hammer.stop()
    assert result["failed"] == 0, result


def test_a_sidecar_follows_its_application_by_being_started_again(lab, engine):
    lab.registry.write({"web": ["10.0.0.1:80"]})
    app = engine.run("app")
    sidecar = run_sidecar(engine, lab, options=["--restart=always"])
    wait_for_links(app, {"9000": "web"})
    engine.docker("restart", "-t", "0", "app")
    wait_for_links(app, {"9000": "web"})
    assert sidecar.inspect()["RestartCount"] == 1


def churn(engine, names, seconds, alive):
    """Starts and stops containers in random order."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = random.choice(names)
        action = random.choice(["kill", "restart"]) if name in alive else "start"
        engine.docker(action, *(["-t", "0"] if action == "restart" else []), name, check=False)
        alive.discard(name) if action == "kill" else alive.add(name)


@pytest.mark.slow
def test_containers_come_and_go(lab, engine):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    random.seed(seed)
    lab.registry.write({f"s{i}": ["10.0.0.1:80"] for i in range(3)})
    daemon = start_agent(lab, engine)
    labelled = {f"c{i}": {str(9000 + j): f"s{j}" for j in range(i % 3 + 1)} for i in range(CHURN_LABELLED)}
    names = [f"c{i}" for i in range(CHURN_CONTAINERS)]
    for name in names:
        labels = [f"nuncio.link.{port}={service}" for port, service in labelled.get(name, {}).items()]
        engine.run(name, labels=labels)
    alive = set(names)
    wait_until(lambda: set(containers(daemon)) == set(labelled), 30)
    memory = daemon.memory_kib()
    churn(engine, names, CHURN_SECONDS / 2, alive)
    engine.stop()
    engine.start()
    alive &= set(engine.docker("ps", "--format", "{{.Names}}").split())
    churn(engine, names, CHURN_SECONDS / 2, alive)
    running = set(engine.docker("ps", "--format", "{{.Names}}").split())
    wait_until(lambda: set(containers(daemon)) == running & set(labelled), 30, lambda: f"{running}: {containers(daemon)}")
    for name in running:
        wait_for_links(docker.Container(engine, name), labelled.get(name, {}))
    print(f"{len(running)} run, {len(running & set(labelled))} of them labelled; {descriptors(daemon)} descriptors, "
          f"{held_namespaces(daemon)} namespaces; {memory} KiB when all ran, {daemon.memory_kib()} KiB now")
    engine.remove_all()
    wait_until(lambda: not containers(daemon) and not held_namespaces(daemon), 20)
    print(f"none: {descriptors(daemon)} descriptors, {daemon.memory_kib()} KiB; log of {len(daemon.log())} bytes")
    # AddressSanitizer keeps what was freed.
    assert not PLAIN or daemon.memory_kib() < memory + 4096
    assert not [line for line in daemon.log().splitlines() if " error " in line]
