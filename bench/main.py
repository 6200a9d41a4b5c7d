# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures nuncio beside what one would use instead, and writes what was found: see scripts/bench.

It uses the laboratory of the tests: PYTHONPATH=tests/integration, as `make bench` has it.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import controlpath
import datapath
import faults
import report
from rig import REPOSITORY, Rig

FULL = {"rounds": 15, "seconds": 1, "changes": 200, "tries": 3, "links": (100, 1000, 5000, 10000, 20000),
        "sizes": (1, 1000, 10000), "endpoints": (10, 1000, 10000), "day": (1000, 300),
        "groups": ("local", "links", "ipv6", "gateway"), "scenarios": tuple(faults.SCENARIOS)}
QUICK = {"rounds": 2, "seconds": 1, "changes": 30, "tries": 1, "links": (100, 1000, 5000),
         "sizes": (1, 1000), "endpoints": (10, 1000), "day": (200, 60),
         "groups": ("local", "gateway"), "scenarios": ("1,000 changes", "a backend refuses for 12 s")}

# Movers, and up to which size they can be measured in a time that one is willing to wait.
MOVERS = ((controlpath.ByFile, 10000), (controlpath.ByScaling, 10000), (controlpath.ByEtcd, 10000),
          (controlpath.ByReload, 10000), (controlpath.ByRuntimeApi, 10000), (controlpath.ByNft, 1000), (controlpath.ByNftlb, 1))


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else ""


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "kernel": platform.release(), "cpus": os.cpu_count(),
        "cpu": model.group(1) if model else platform.machine(), "memory_gib": round(int(memory.group(1)) / 2**20, 1),
        "versions": {"haproxy": version("haproxy", "-v"), "nginx": version("nginx", "-v"), "nft": version("nft", "-v"),
                     "nftlb": version("dpkg-query", "-W", "-f", "${Version}", "nftlb"), "etcd": version("etcd", "--version"),
                     "wrk": version("dpkg-query", "-W", "-f", "${Version}", "wrk"), "iperf3": version("iperf3", "-v")},
    }


def measure_data(plan):
    found = {}
    for group in plan["groups"]:
        rig = Rig()
        try:
            found[group] = datapath.measure(rig, group, plan["rounds"], plan["seconds"], say)
        finally:
            rig.close()
    return found


def measure_control(plan):
    found = {"moves": [], "skipped": {}, "endpoints": [], "starts": []}
    rig = Rig()
    try:
        for role in ("b1", "b2"):
            rig.start_server(role, controlpath.PORT)
        for kind, largest in MOVERS:
            obstacle = kind.obstacle()
            if obstacle:
                found["skipped"][kind.label] = obstacle
                continue
            for size in plan["sizes"]:
                if size <= largest:
                    say(f"changes: {kind.label}, {size} services")
                    count = min(plan["changes"], kind.most_changes(size))
                    found["moves"].append({"label": kind.label, **controlpath.measure_moves(rig, kind, size, count)})
        for kind in (controlpath.EndpointsByFile, controlpath.EndpointsByEtcd):
            for size in plan["endpoints"] if not kind.obstacle() else ():
                say(f"changes: {kind.label}, one link with {size} endpoints")
                found["endpoints"].append(controlpath.measure_endpoints(rig, kind, size, min(plan["changes"], 50)))
        for links in plan["links"]:
            say(f"start: {links} links")
            found["starts"].append(controlpath.measure_start(rig, links, plan["tries"]))
        say("a day")
        found["day"] = controlpath.measure_day(rig, *plan["day"])
        found["allocations"] = controlpath.measure_allocations(rig)
        found["idle"] = controlpath.measure_idle(rig)
    finally:
        rig.close()
    return found


def measure_faults(plan):
    found = {}
    rig = Rig()
    try:
        for role in ("b1", "b2", "b3"):
            rig.start_server(role, controlpath.PORT)
        for scenario in plan["scenarios"]:
            found[scenario] = []
            for kind in faults.SCENARIOS[scenario][1]:
                say(f"faults: {scenario}: {kind.label}")
                found[scenario].append(faults.measure(rig, scenario, kind))
    finally:
        rig.close()
    return found


PARTS = {"data": measure_data, "control": measure_control, "faults": measure_faults}


def measure(parts, plan, quick, file):
    """Measures these parts; of others, what the file has stays."""
    results = {"runs": {}, **(json.loads(file.read_text()) if file.exists() else {})}
    results["machine"] = machine()
    commit = version("git", "-C", REPOSITORY, "describe", "--always", "--dirty", "--exclude=*")
    for part in parts:
        began = time.monotonic()
        results[part] = PARTS[part](plan)
        results["runs"][part] = {"date": time.strftime("%Y-%m-%d"), "commit": commit, "quick": quick,
                                 "minutes": round((time.monotonic() - began) / 60, 1)}
        file.write_text(json.dumps(results, indent=1))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: minutes, and more noise")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, the others stay; repeat it for more")
    parser.add_argument("--output", default="build/bench", type=pathlib.Path, help="the directory for what is found")
    parser.add_argument("--report", action="store_true", help="measures nothing: the report of what was found before")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "results.json"
    if not args.report:
        measure(args.only or PARTS, QUICK if args.quick else FULL, args.quick, file)
    report.write(json.loads(file.read_text()), args.output)
    say(f"the report is {args.output}/REPORT.md")


if __name__ == "__main__":
    main()
