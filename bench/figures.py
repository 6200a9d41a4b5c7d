# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that the project set itself, beside what was found."""

import faults
from datapath import TRACKED
from stats import column, paired_ratio

LOSSLESS = ("1,000 changes", "killed with SIGKILL, started again after 1 s", "replaced by a new process",
            "nft flush ruleset, 20 times")


class Asked:
    """[what, what is asked, what was found, whether it is reached]"""

    def __init__(self):
        self.rows = []

    def ratio(self, what, ratio, least=None, most=None):
        if ratio is None:
            return
        asked = most if least is None else least
        reached = ratio.median >= asked if most is None else ratio.median <= asked
        unsure = ratio.low < asked < ratio.high
        self.rows.append([what, f"{'>=' if most is None else '<='} {asked:g}", str(ratio),
                          ("yes" if reached else "**no**") + (", within the noise" if unsure else "")])

    def most(self, what, value, asked, unit="", digits=2):
        if value is not None:
            self.rows.append([what, f"<= {asked:g}{unit}" if asked else "0", f"{value:,.{digits}f}{unit}",
                              "yes" if value <= asked else "**no**"])


def _data(asked, groups):
    def ratio(group, name, key, label, reference):
        samples = groups[group]["samples"][name] if group in groups else {}
        if label not in samples or reference not in samples:
            return None
        return paired_ratio(column(samples[label], key), column(samples[reference], key))

    for reference, words in ((TRACKED, "direct, tracked"), ("direct", "direct, untracked")):
        asked.ratio(f"requests/s over {words}", ratio("local", "keepalive", "per_second", "nuncio", reference), least=0.97)
        asked.ratio(f"new connections/s over {words}", ratio("local", "connect", "per_second", "nuncio", reference), least=0.93)
        asked.ratio(f"p99 of requests over {words}", ratio("local", "keepalive", "p99_ms", "nuncio", reference), most=1.1)
    asked.ratio("requests/s over HAProxy", ratio("local", "keepalive", "per_second", "nuncio", "HAProxy"), least=1.8)
    asked.ratio("new connections/s over HAProxy", ratio("local", "connect", "per_second", "nuncio", "HAProxy"), least=1.5)
    for name, words in (("keepalive", "requests/s"), ("connect", "new connections/s")):
        asked.ratio(f"flat: {words} with 10,000 links over 3", ratio("links", name, "per_second", "10000 links", "3 links"),
                    least=0.97)


def _control(asked, found):
    for move in found["moves"]:
        if move["label"].startswith("nuncio"):
            what = f"{move['label']}, {move['size']:,} link{'s' if move['size'] > 1 else ''}"
            asked.most(f"{what}: change to first connection, p50", move["p50_ms"], 5, " ms")
            asked.most(f"{what}: change to first connection, p99", move["p99_ms"], 20, " ms")
            asked.most(f"{what}: own share, p50", move["own"]["p50_ms"], 0.2, " ms")
    for start in found["starts"]:
        if start["links"] == 10000:
            asked.most("10,000 links x 10 endpoints from nothing", start["cold_s"]["median"], 1, " s")
            asked.most("memory with 10,000 links x 10 endpoints, RSS", start["rss"]["median"] / 1e6, 64, " MB", 1)
    for row in found["idle"]:
        for kind, words in (("rss", "RSS"), ("pss", "PSS"), ("own", "its own pages")):
            asked.most(f"memory idle, {row['label']}, {words}", row[kind] / 1e6, 6, " MB", 1)


def figures(results):
    """Rows of those that were measured."""
    asked = Asked()
    _data(asked, results.get("data", {}))
    if "control" in results:
        _control(asked, results["control"])
    for scenario in LOSSLESS:
        for row in results.get("faults", {}).get(scenario, []):
            if row["who"] in ("nuncio", faults.NuncioShared.label):
                asked.most(f"failed connections: {scenario}{row['who'].removeprefix('nuncio')}", row["failed"], 0, digits=0)
    return asked.rows
