# SPDX-License-Identifier: GPL-2.0-or-later
"""What was found, for people: tables in Markdown, and plots beside them."""

import statistics
from itertools import cycle

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "nuncio"  # the same figures make the same file
import matplotlib.pyplot as pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

import faults  # noqa: E402
from controlpath import OTHERS  # noqa: E402
from datapath import CLIENTS, GROUPS, SINGLE, TRACKED  # noqa: E402
from figures import figures  # noqa: E402
from stats import column, paired_ratio, summary  # noqa: E402

OURS, THEIRS, REFERENCE = "#0b6e4f", "#b0b7bf", "#4a5562"
PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")
PLOT = {"figsize": (7.2, 2.6), "dpi": 100}

# measurement -> (title, unit, [(key, heading, factor, digits, more is better)]); the first key is compared
COLUMNS = {
    "keepalive": ("Requests over kept connections", "requests/s", [
        ("per_second", "requests/s", 1, 0), ("p50_ms", "p50 ms", 1, 2), ("p99_ms", "p99 ms", 1, 2),
        ("user_seconds_per_million", "user CPU s / million", 1, 1),
        ("kernel_seconds_per_million", "kernel CPU s / million", 1, 1)]),
    "connect": ("New connections", "connections/s", [
        ("per_second", "connections/s", 1, 0), ("p50_ms", "p50 ms", 1, 2), ("p99_ms", "p99 ms", 1, 2),
        ("user_seconds_per_100k", "user CPU s / 100k", 1, 2), ("kernel_seconds_per_100k", "kernel CPU s / 100k", 1, 2)]),
    "single": ("One new connection after the other", "us", [("p50_us", "p50 us", 1, 0), ("p99_us", "p99 us", 1, 0)]),
    "upload": ("Throughput to the server, one connection", "Gbit/s", [
        ("bits_per_second", "Gbit/s", 1e-9, 1), ("seconds_per_gigabyte", "CPU s / GB", 1, 2)]),
    "download": ("Throughput from the server, one connection", "Gbit/s", [
        ("bits_per_second", "Gbit/s", 1e-9, 1), ("seconds_per_gigabyte", "CPU s / GB", 1, 2)]),
    "datagrams": ("Datagrams of 64 bytes, one flow", "datagrams/s", [
        ("per_second", "arrive/s", 1, 0), ("lost", "lost %", 100, 1)]),
}


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def save(figure, directory, name):
    figure.tight_layout()
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    return f"![{name.replace('-', ' ')}]({name}.svg)\n"


def bars(directory, name, title, unit, values, spreads):
    """One bar for each label; ours stands out."""
    figure, axes = pyplot.subplots(**{**PLOT, "figsize": (7.2, 0.8 + 0.36 * len(values))})
    labels = list(values)
    colours = [OURS if "nuncio" in label or "links" in label else REFERENCE if label in ("direct", "routed", TRACKED)
               else THEIRS for label in labels]
    axes.barh(labels, [values[label] for label in labels], xerr=[spreads[label] for label in labels], color=colours,
              error_kw={"elinewidth": 1, "ecolor": "#222222"})
    for position, label in enumerate(labels):
        axes.text(0, position, f"  {values[label]:,.3g} " if values[label] < 1000 else f"  {values[label]:,.0f} ",
                  va="center", color="white" if colours[position] != THEIRS else "black", fontsize=9)
    axes.invert_yaxis()
    axes.set_title(f"{title} ({unit})", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return save(figure, directory, name)


def lines(directory, name, title, x_label, y_label, series, logarithmic=True):
    """series: {label: [(x, y)]}"""
    colours = {True: cycle((OURS, "#5fb894", "#1f78b4")), False: cycle(("#c1440e", "#d98e04", "#4a5562", "#8b95a1"))}
    figure, axes = pyplot.subplots(**PLOT)
    for label, points in series.items():
        axes.plot(*zip(*points), marker="o", markersize=4, label=label, color=next(colours[label.startswith("nuncio")]))
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return save(figure, directory, name)


def data_group(group, found, directory):
    text = [f"### {GROUPS[group][0][0].upper()}{GROUPS[group][0][1:]}\n"]
    reference = GROUPS[group][1][0][0]
    for name, by_label in found["samples"].items():
        title, unit, columns = COLUMNS[name]
        measured = {label: samples for label, samples in by_label.items() if samples[0]}
        key, _, factor, _ = columns[0]
        base = column(measured[reference], key)
        rows, values, spreads = [], {}, {}
        for label, samples in measured.items():
            sums = summary(column(samples, key, factor))
            values[label], spreads[label] = sums["median"], sums["spread"] * sums["median"]
            cells = [number(statistics.median(column(samples, k, f)), digits) for k, _, f, digits in columns]
            rows.append([label, *cells, f"± {sums['spread'] * 100:.0f} %", str(paired_ratio(column(samples, key), base))])
        text.append(f"**{title}**\n")
        text.append(table(["", *(heading for _, heading, _, _ in columns), "spread", f"of {reference}"], rows))
        text.append(bars(directory, f"{group}-{name}", title, unit, values, spreads))
    text.append(f"Rounds: {len(base)}. Of the processor time that was wanted, {found['stolen'] * 100:.0f} % went to others on the "
                "hypervisor.\n")
    for label, reason in found["skipped"].items():
        text.append(f"Not measured: {label}, {reason}.\n")
    return "\n".join(text)


def data_part(found, directory):
    text = ["## The data path\n",
            f"*Requests*: {CLIENTS} connections of one wrk to nginx, which answers each GET with 2 bytes. *New connections*: "
            f"{CLIENTS} clients that connect, read a short answer, close and begin again. *One after the other*: one such client, "
            f"{SINGLE:,} times. *Throughput* and *datagrams*: iperf3, as fast as it goes. All but *one after the other* for a "
            "second in each round.\n"]
    return "\n".join(text + [data_group(group, found[group], directory) for group in found])


def timeline(directory, day):
    figure, (cpu, rss) = pyplot.subplots(2, 1, sharex=True, figsize=(7.2, 3.2), dpi=100)
    seconds = [point["s"] for point in day["points"]]
    cpu.plot(seconds, [point["cpu_share"] * 100 for point in day["points"]], color=OURS)
    rss.plot(seconds, [point["rss"] / 1e6 for point in day["points"]], color=OURS)
    cpu.set_ylabel("CPU %")
    rss.set_ylabel("RSS MB")
    rss.set_xlabel("s")
    rss.set_ylim(bottom=0)
    for axes in (cpu, rss):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, alpha=0.3)
    for name, at in day["marks"].items():
        cpu.annotate(name, (at, 1), xycoords=("data", "axes fraction"), fontsize=9, color=REFERENCE)
        for axes in (cpu, rss):
            axes.axvline(at, color=THEIRS, linewidth=1)
    return save(figure, directory, "day")


def milliseconds(pair):
    return [number(pair["p50_ms"], 2), number(pair["p99_ms"], 2)] if pair else ["-", "-"]


def control_part(found, directory):
    text = ["## The control path\n", "### From the change to the first connection on the new endpoint\n"]
    rows = [[move["label"], f"{move['size']:,}", *milliseconds(move), *milliseconds(move["told"]), *milliseconds(move["own"]),
             str(move["failed"]), str(move["changes"])] for move in found["moves"]]
    text.append(table(["", "services", "p50 ms", "p99 ms", "told p50 ms", "told p99 ms", "own p50 ms", "own p99 ms", "failed",
                       "changes"], rows))
    text.append("*Told*: until the registry or the program that was told had answered; etcd writes to its disk before that. "
                "*Own*: from the event's arrival in nuncio to the kernel's acknowledgement. *Scaled*: from one endpoint to two others and "
                "back, where the others only replace one. What writes the file or renders the "
                "template (confd, consul-template) and its quiet time come on top for HAProxy's reload. *kube-proxy's shape*: a chain "
                "for each service and each endpoint. Each column has its own "
                "median, so they do not add up; with fewer than 100 changes, p99 is the slowest.\n")
    series = {}
    for move in found["moves"]:
        series.setdefault(move["label"], []).append((move["size"], move["p50_ms"]))
    text.append(lines(directory, "changes", "Change to first connection, median", "services", "ms", series))
    text.append("### One link with many endpoints, one of which moves\n")
    text.append(table(["", "endpoints", "written to acknowledged p50 ms", "p99 ms", "own p50 ms", "own p99 ms"],
                      [[row["label"], f"{row['size']:,}", *milliseconds(row), *milliseconds(row["own"])]
                       for row in found["endpoints"]]))
    text.append("### Start, with 10 endpoints for each link (file)\n")
    rows = [[f"{row['links']:,}", number(row["cold_s"]["median"], 3), number(row["adopt_s"]["median"], 3),
             number(row["cold_s"]["median"] / row["links"] * 1e6, 0), number(row["cpu_s"]["median"], 2),
             number(row["rss"]["median"] / 1e6, 1), number(row["pss"]["median"] / 1e6, 1)] for row in found["starts"]]
    text.append(table(["links", "from nothing s", "over what is there s", "us per link", "CPU s", "RSS MB", "PSS MB"], rows))
    text.append(lines(directory, "start", "Start until all rules are in the kernel", "links", "s", {
        "nuncio, from nothing": [(row["links"], row["cold_s"]["median"]) for row in found["starts"]],
        "nuncio, over what is there": [(row["links"], row["adopt_s"]["median"]) for row in found["starts"]]}))
    day, allocations = found["day"], found["allocations"]
    storm = day["storm"]
    text.append("### CPU and memory over time\n")
    text.append(f"{day['links']:,} links, all but one with {OTHERS} endpoints: nothing happens; {day['changes']} changes, one after the "
                "other; nothing; a storm; nothing.\n")
    text.append(timeline(directory, day))
    text.append(f"**The storm**: all {day['endpoints']:,} endpoints of {day['links']:,} links were changed within "
                f"{storm['writing_s']:.2f} s; the last one took connections {storm['after_last_write_s'] * 1000:.0f} ms after "
                f"its file was written. It took {storm['cpu_s']:.2f} s of CPU; RSS {storm['rss_before'] / 1e6:.1f} MB before, "
                f"{storm['rss_after'] / 1e6:.1f} MB after.\n")
    text.append(f"**Allocations**: {allocations['allocations_per_change']:.0f} for each change of an endpoint.\n")
    text.append("**Idle**, three links:\n")
    text.append(table(["", "CPU %", "own MB", "PSS MB", "RSS MB"], [
        [row["label"], number(row["cpu_share"] * 100, 2), *(number(row[kind] / 1e6, 1) for kind in ("own", "pss", "rss"))]
        for row in found["idle"]]))
    text.append("*Own*: written by the process, so that no other one shares it and the system cannot drop it. RSS has the"
                " libraries' pages in files, too, as if nobody else used them; PSS divides them among their users of the moment.\n")
    for label, reason in found["skipped"].items():
        text.append(f"Not measured: {label}, {reason}.\n")
    return "\n".join(text)


def faults_part(found, _directory):
    text = ["## Faults\n",
            f"{faults.LOAD['rate']} new connections a second to three backends while something happens to what leads there. A "
            f"connection has *failed* that was refused or reset, or was not through within {faults.LOAD['timeout'] / 1000:.0f} s. "
            "Of nuncio, the options by which it leaves out a dead backend: *check=tcp* connects to each every 2 s, as HAProxy "
            "does here; *eject* looks at how the connections of clients end. With *--share-table* others may change nuncio's rules, "
            "as they may in any case before Linux 6.9.\n"]
    rows = []
    for scenario, results in found.items():
        for result in results:
            errors = ", ".join(f"{error} ({count})" for error, count in sorted(result["errors"].items()))
            rows.append([scenario, result["who"], f"{result['connections']:,}", str(result["failed"]),
                         number(result["p99_ms"], 1), number(result["max_ms"], 1), errors])
    text.append(table(["", "", "connections", "failed", "p99 ms", "worst ms", "errors"], rows))
    return "\n".join(text)


PARTS = {"data": "the data path", "control": "the control path", "faults": "faults"}


def runs(results):
    return "; ".join(f"{PARTS[part]} at commit {run['commit']} on {run['date']}, in {run['minutes']} minutes"
                     f"{' with --quick: few rounds, much noise' if run['quick'] else ''}" for part, run in results["runs"].items())


def head(results):
    machine = results["machine"]
    versions = "; ".join(f"{name}: {value}" for name, value in machine["versions"].items() if value)
    return f"""# Measured

nuncio lets an application connect to a fixed address, and has the kernel lead each connection on to one of the endpoints
that a registry (a file, or etcd) names for a service. Such an address with its service is a *link*. This is what it costs
beside a connection without it (*direct*), a rule by hand (*iptables DNAT*, *nftlb*), and proxies (*HAProxy*, *nginx stream*).
What to make of it is said in [doc/benchmark.md](../../doc/benchmark.md).

Made by `scripts/bench`: {runs(results)}. On {machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_gib']} GiB, Linux
{machine['kernel']}. {versions}.

Clients, paths and servers are network namespaces of one machine and share its CPUs: what a path costs, the load and the
servers cannot use. Paths take turns within each round; a figure is the median of the rounds, *spread* half the distance between
the quartiles. A ratio is the median of the ratios within a round, and so not the quotient of two medians that stand in the
table; in brackets between which values the true one lies with 95 %. CPU is that of the whole machine, load and servers
included. *direct, tracked* is *direct* where the kernel tracks connections because some rule asks for it, as on most hosts:
Docker's and firewalls' do.
"""


def write(results, directory):
    parts = {"data": data_part, "control": control_part, "faults": faults_part}
    sections = [part(results[name], directory) for name, part in parts.items() if name in results]
    asked = ("## What is asked, and what was found\n\nBy the project of itself. *Within the noise*: what is asked lies between the "
             "values in brackets.\n\n") + table(["", "asked", "found", "reached"], figures(results))
    (directory / "REPORT.md").write_text("\n".join([head(results), asked, *sections]))
