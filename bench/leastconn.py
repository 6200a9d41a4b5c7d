#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""balance=leastconn against roundrobin, where one endpoint of four holds connections ten times as long.

Runs as root, in namespaces of its own: two links to equal backends, the same load on both. Live connections are
counted by the backends themselves. Writes the figure as SVG, and says what leastconn cost.

    bench/leastconn.py [--seconds 120] [--rate 80] [--figure doc/leastconn.svg]
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "integration"))

import lab as laboratory  # noqa: E402

LINKS = {"roundrobin": 9001, "leastconn": 9000}
HOLDING_S, FACTOR = 1.5, 10

BACKEND = """
import asyncio, random, sys, time
holding, host = float(sys.argv[1]), sys.argv[2]
live = {8000: 0, 8001: 0}
def serve(port):
    async def on_client(reader, writer):
        live[port] += 1
        try:
            await asyncio.sleep(random.expovariate(1 / holding))
        finally:
            live[port] -= 1
            writer.close()
    return on_client
async def main():
    for port in live:
        await asyncio.start_server(serve(port), host, port, backlog=1000)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(1)
        print(time.time(), live[8000], live[8001], flush=True)
asyncio.run(main())
"""

CLIENT = """
import asyncio, random, sys, time
rate, until = float(sys.argv[1]), time.time() + float(sys.argv[2])
failed = 0
async def one(port):
    global failed
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.read()
        writer.close()
    except OSError:
        failed += 1
async def main():
    tasks = set()
    while time.time() < until:
        for port in (9000, 9001):
            task = asyncio.create_task(one(port))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(random.expovariate(rate))
    print("failed", failed, flush=True)
asyncio.run(main())
"""


def start_backends(lab, logs):
    for index, backend in enumerate(lab.backends):
        holding = HOLDING_S * (FACTOR if index == len(lab.backends) - 1 else 1)
        with open(logs[index], "w") as log:
            backend.popen("/usr/bin/python3", "-c", BACKEND, holding, backend.v4, stdout=log)
    while not all("ready" in log.read_text() for log in logs):
        time.sleep(0.1)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def messages(daemon):
    found = re.search(r"^nuncio_\w*messages\w*(?:\{.*\})? ([0-9.e+]+)$", daemon.ask("metrics"), re.MULTILINE)
    return float(found.group(1)) if found else float("nan")


def measure(lab, args):
    """Live connections by link and endpoint, a list over time each."""
    logs = [lab.path / f"backend-{i}" for i in range(len(lab.backends))]
    start_backends(lab, logs)
    services = {name: lab.endpoints(port=port) for name, port in (("lc", 8000), ("rr", 8001))}
    lab.registry.write(services)
    daemon = lab.start("--link", f"{LINKS['leastconn']}=lc,balance=leastconn", "--link", f"{LINKS['roundrobin']}=rr")
    with lab.monitor() as monitor:
        before, sent = cpu_seconds(daemon.pid), messages(daemon)
        began = time.time()
        client = lab.app.popen("/usr/bin/python3", "-c", CLIENT, args.rate, args.seconds, stdout=subprocess.PIPE,
                               text=True)
        client.wait()
        after, sent_after = cpu_seconds(daemon.pid), messages(daemon)
    print(f"client: {client.stdout.read().strip()}")
    print(f"daemon: {1000 * (after[0] - before[0]) / args.seconds:.2f} ms/s user, "
          f"{1000 * (after[1] - before[1]) / args.seconds:.2f} ms/s in the kernel; "
          f"{(sent_after - sent) / args.seconds:.1f} messages/s, {len(monitor.lines)} changes seen by nft")
    live = {"leastconn": collections.defaultdict(list), "roundrobin": collections.defaultdict(list)}
    for backend, log in zip(lab.backends, logs):
        for line in log.read_text().splitlines()[1:]:
            now, least, turns = line.split()
            if began <= float(now) < began + args.seconds:
                live["leastconn"][backend.role].append((float(now) - began, int(least)))
                live["roundrobin"][backend.role].append((float(now) - began, int(turns)))
    return live


def draw(live, path):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nuncio"
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 2, sharey=True, figsize=(9, 3.2), layout="constrained")
    for axis, (link, endpoints) in zip(axes, sorted(live.items(), reverse=True)):
        for name, points in sorted(endpoints.items()):
            slow = name == max(endpoints)
            axis.plot(*zip(*points), label=f"{name}{' (10x)' if slow else ''}", linewidth=2 if slow else 1)
        axis.set_title(f"balance={link}")
        axis.set_xlabel("seconds")
    axes[0].set_ylabel("live connections")
    axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=80, help="connections a second, on each link")
    parser.add_argument("--figure", type=pathlib.Path)
    args = parser.parse_args()
    made = laboratory.Lab(backends=4)
    try:
        live = measure(made, args)
    finally:
        made.close()
    for link, endpoints in live.items():
        late = {name: [n for at, n in points if at > args.seconds / 2] for name, points in endpoints.items()}
        means = {name: sum(counts) / len(counts) for name, counts in sorted(late.items())}
        print(f"{link}: second half, live on the average: "
              + ", ".join(f"{name} {mean:.0f}" for name, mean in means.items())
              + f"; most by least {max(means.values()) / min(means.values()):.2f}")
    if args.figure:
        draw(live, args.figure)


if __name__ == "__main__":
    main()
