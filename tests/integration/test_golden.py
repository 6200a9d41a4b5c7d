# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration and registry to the table as nft lists it; and the listing, loaded elsewhere, behaves the same.

A case is a directory of tests/golden:

    config.json    the links
    registry.json  the endpoints; b1, b2 and b3 serve at 10.77.0.11-13 and fd00:77::11-13, port 8080
    expect.nft     `nft list table inet nuncio`, counters at zero; UPDATE_GOLDEN=1 writes it anew
    traffic.json   where there is traffic: [{"to": .., "udp": .., "by": {"b1": 1, ..}} or {"to": .., "refused": true}]
    nft-fails.txt  where some nft cannot load its own listing: what it says then
"""

import json
import os
import pathlib
import subprocess

import pytest

CASES = sorted(path.parent for path in pathlib.Path(__file__).parents[1].glob("golden/*/config.json"))


def exercise(namespace, traffic):
    for way in traffic:
        count = sum(way.get("by", {"refused": 3}).values())
        result = namespace.hammer(way["to"], count=count, udp=way.get("udp", False))
        if way.get("refused"):
            assert result["ok"] == 0 and all("Connection refused" in error for error in result["errors"]), way
        else:
            assert result["by"] == way["by"], way["to"]


def is_loaded(namespace, listing, complaint):
    """Loads a listing. nft may fail at it, in the one way that is known."""
    if not complaint.exists():
        namespace.run("nft", "-f", "-", input=listing)
        return True
    done = subprocess.run(namespace.command("nft", "-f", "-"), input=listing, capture_output=True, text=True)
    assert done.returncode == 0 or complaint.read_text().strip() in done.stderr, done.stderr
    return done.returncode == 0


def prepare(source, target):
    """Does in one namespace what nuncio did in the other besides its table."""
    target.ip(*(f"addr add {vip} dev lo" for vip in source.addresses() - target.addresses()))
    target.sysctl("net/ipv4/conf/eth0/route_localnet", source.sysctl("net/ipv4/conf/eth0/route_localnet"))


@pytest.mark.lab(second_app=True)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(lab, case):
    done = lab.nuncio("run", "--once", "-c", case / "config.json", "--registry", f"file:{case / 'registry.json'}")
    assert done.returncode == 0, done.stderr
    listing = lab.app.table()
    expect = case / "expect.nft"
    if os.environ.get("UPDATE_GOLDEN"):
        expect.write_text(listing)
    assert listing == expect.read_text()

    loaded = is_loaded(lab.app2, listing, case / "nft-fails.txt")
    if loaded:
        prepare(lab.app, lab.app2)
        assert lab.app2.table() == listing

    if (case / "traffic.json").exists():
        lab.serve()
        traffic = json.loads((case / "traffic.json").read_text())
        exercise(lab.app, traffic)
        if loaded:
            exercise(lab.app2, traffic)
