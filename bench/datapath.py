# SPDX-License-Identifier: GPL-2.0-or-later
"""What traffic costs on each path: requests, new connections, bytes, datagrams."""

import json
import pathlib
import re

from rig import HAProxy, Iptables, Nftlb, NginxStream, Nuncio, Path, Tracked
from stats import Stolen, machine_seconds

LUA = pathlib.Path(__file__).with_name("report.lua")
CLIENTS = 32
SINGLE = 2000  # connections, one after the other
DATAGRAM = 64  # bytes


def keepalive(path, seconds):
    """HTTP requests over connections that stay."""
    with machine_seconds() as cpu:
        text = path.client.run("wrk", "-t", "1", "-c", CLIENTS, "-d", f"{seconds}s", "--latency", "-s", LUA,
                               f"http://{path.at(path.ports.http)}/")
    found = json.loads(re.search(r"^JSON (.*)", text, re.MULTILINE).group(1))
    assert not found["errors"], f"{path.name}: {text}"
    return {
        "per_second": found["requests"] / found["us"] * 1e6,
        "p50_ms": found["p50_us"] / 1000, "p99_ms": found["p99_us"] / 1000,
        "user_seconds_per_million": cpu.user / found["requests"] * 1e6,
        "kernel_seconds_per_million": cpu.kernel / found["requests"] * 1e6,
    }


def connect(path, seconds):
    """A new connection each time, read to its end."""
    with machine_seconds() as cpu:
        found = path.client.hammer(path.at(path.ports.connect), seconds=seconds, concurrency=CLIENTS)
    return {
        "per_second": found["ok"] / found["seconds"], "failed": found["failed"],
        "p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"],
        "user_seconds_per_100k": cpu.user / found["ok"] * 1e5,
        "kernel_seconds_per_100k": cpu.kernel / found["ok"] * 1e5,
    }


def single(path, _seconds):
    """A new connection each time, one after the other: what the way itself takes, with nothing that waits in line."""
    found = path.client.hammer(path.at(path.ports.connect), count=SINGLE, concurrency=1)
    return {"p50_us": found["p50_ms"] * 1000, "p99_us": found["p99_ms"] * 1000}


def _iperf(path, seconds, *options):
    text = path.client.run("iperf3", "-J", "-c", path.address, "-p", path.ports.stream, "-t", seconds, *options)
    return json.loads(text)["end"]


def upload(path, seconds):
    with machine_seconds() as cpu:
        end = _iperf(path, seconds)
    received = end["sum_received"]
    return {"bits_per_second": received["bits_per_second"], "seconds_per_gigabyte": cpu.total / received["bytes"] * 1e9}


def download(path, seconds):
    with machine_seconds() as cpu:
        end = _iperf(path, seconds, "-R")
    received = end["sum_received"]
    return {"bits_per_second": received["bits_per_second"], "seconds_per_gigabyte": cpu.total / received["bytes"] * 1e9}


def datagrams(path, seconds):
    """One flow, as fast as it goes; those that arrive."""
    if not path.carries_udp:
        return None
    total = _iperf(path, seconds, "-u", "-b", "0", "-l", DATAGRAM)["sum"]
    return {"per_second": (total["packets"] - total["lost_packets"]) / total["seconds"],
            "lost": total["lost_packets"] / total["packets"]}


ALL = {"keepalive": keepalive, "connect": connect, "single": single, "upload": upload, "download": download, "datagrams": datagrams}
NEW_AND_KEPT = {"keepalive": keepalive, "connect": connect, "single": single}

TRACKED = "direct, tracked"

# name -> (what is said of it, [(label, class, options)], what is measured)
GROUPS = {
    "local": ("an application and an address of its own host, IPv4",
              [("direct", Path, {}), ("nuncio", Nuncio, {}), (TRACKED, Tracked, {}), ("iptables DNAT", Iptables, {}),
               ("HAProxy", HAProxy, {}), ("nginx stream", NginxStream, {})], ALL),
    "links": ("the same, by the number of links that nuncio serves",
              [("direct", Path, {})] + [(f"{links} links", Nuncio, {"links": links})
                                        for links in (3, 100, 1000, 10000)], NEW_AND_KEPT),
    "ipv6": ("an application and an address of its own host, IPv6",
             [("direct", Path, {"family": 6}), ("nuncio", Nuncio, {"family": 6}), ("HAProxy", HAProxy, {"family": 6})],
             NEW_AND_KEPT),
    "gateway": ("clients on another host, and the path on their gateway",
                [("routed", Path, {"gateway": True}), ("nuncio", Nuncio, {"gateway": True}),
                 ("nftlb", Nftlb, {"gateway": True}), ("HAProxy", HAProxy, {"gateway": True})], NEW_AND_KEPT),
}


def measure(rig, group, rounds, seconds, say):
    """{measurement: {label: [a sample of each round]}}; the paths take turns within each round, each time another first."""
    _, wanted, measurements = GROUPS[group]
    paths, skipped = {}, {}
    for label, kind, options in wanted:
        obstacle = kind.obstacle()
        if obstacle:
            skipped[label] = obstacle
        else:
            paths[label] = rig.add(kind, **options)
    samples = {name: {label: [] for label in paths} for name in measurements}
    stolen, order = Stolen(), list(paths)
    for number in range(rounds):
        say(f"{group}: round {number + 1} of {rounds}")
        for name, function in measurements.items():
            for label in order:
                paths[label].forget()
                samples[name][label].append(function(paths[label], seconds))
        order.append(order.pop(0))
    return {"samples": samples, "skipped": skipped, "stolen": stolen.share()}
