# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers out of samples, and the machine's time while something ran."""

import contextlib
import math
import os
import pathlib
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


def column(samples, key, factor=1):
    """One value of each sample; None where nothing was measured."""
    return [sample[key] * factor if sample else None for sample in samples]


class Ratio:
    """The median of the ratios within each round, and between which values the true one lies (95 %).

    What changes from round to round cancels out in a ratio. The interval is that of the median by order statistics: of
    n values, so many are below the true median as heads in n tosses of a coin. It asks nothing of their distribution.
    With fewer than six rounds nothing can be said with 95 %; then it is all that was seen.
    """

    def __init__(self, ratios):
        ordered = sorted(ratios)
        count, cut, tail = len(ordered), 0, 0.0
        while cut < count // 2:
            tail += math.comb(count, cut) / 2**count
            if tail > 0.025:
                break
            cut += 1
        outside = max(0, cut - 1)
        self.median, self.low, self.high = statistics.median(ordered), ordered[outside], ordered[-1 - outside]

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f} - {self.high:.2f})"


def paired_ratio(ours, theirs):
    """The Ratio of what was measured in the same rounds; None: nothing was."""
    ratios = [a / b for a, b in zip(ours, theirs) if a is not None and b]
    return Ratio(ratios) if ratios else None


def _ticks():
    """user, nice, system, idle, iowait, irq, softirq, steal: of all processors since the machine started."""
    with open("/proc/stat") as stat:
        return [int(field) for field in stat.readline().split()[1:9]]


def _machine():
    """(user, kernel) seconds of all processes and interrupts since the machine started."""
    user, nice, system, _idle, _iowait, irq, softirq, _steal = _ticks()
    return (user + nice) / TICK, (system + irq + softirq) / TICK


class Stolen:
    """How much of the time that was wanted a hypervisor gave to others."""

    def __init__(self):
        self._began = _ticks()

    def share(self):
        spent = [after - before for before, after in zip(self._began, _ticks())]
        wanted = sum(spent) - spent[3] - spent[4]
        return spent[7] / wanted if wanted else 0.0


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


def cpu_seconds(pid):
    """Of all threads that it has, so far, by the scheduler's own clock, which does not count in ticks."""
    return sum(int(stat.read_text().split()[0]) for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def resident(pid):
    """Resident set in bytes: cheaper than memory()."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def memory(pid):
    """Of one process, in bytes: resident; shared pages by their share; and its own, which no other process could share."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup if line.endswith("kB\n")}
    names = {"rss": "Rss", "pss": "Pss", "own": "Anonymous"}
    return {name: kilobytes[of] * 1024 for name, of in names.items()}
