# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers out of samples, and the machine's time while something ran."""

import contextlib
import math
import os
import statistics

TICK = os.sysconf("SC_CLK_TCK")


def percentile(values, share):
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(values):
    """Median and spread; the spread is half the distance of the quartiles over the median."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    median = statistics.median(values)
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [median] * 3
    return {
        "median": median,
        "min": min(values),
        "max": max(values),
        "spread": (quartiles[2] - quartiles[0]) / 2 / median if median else 0.0,
        "samples": len(values),
    }


def paired_ratio(ours, theirs):
    """The median of the ratios within each round: what changes from round to round cancels out."""
    ratios = [a / b for a, b in zip(ours, theirs) if a is not None and b]
    return statistics.median(ratios) if ratios else None


def _machine():
    """(user, kernel) seconds of all processes and interrupts since the machine started."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice) / TICK, (system + irq + softirq) / TICK


class Seconds:
    """CPU time between two moments."""

    user = kernel = 0.0

    @property
    def total(self):
        return self.user + self.kernel


@contextlib.contextmanager
def machine_seconds():
    """CPU time of the whole machine while the body runs: load, servers and interrupts too, alike for each path."""
    seconds, before = Seconds(), _machine()
    yield seconds
    after = _machine()
    seconds.user, seconds.kernel = after[0] - before[0], after[1] - before[1]


def process_seconds(pid):
    """(user, kernel) seconds of one process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


def memory(pid):
    """Of one process, in bytes: resident; shared pages by their share; and its own, which no other process could share."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup if line.endswith("kB\n")}
    names = {"rss": "Rss", "pss": "Pss", "own": "Anonymous"}
    return {name: kilobytes[of] * 1024 for name, of in names.items()}
