"""The dated report: Markdown with tables, plots beside it, and the raw figures as JSON."""

import json

from . import svg


def _ratio(value):
    return "" if value is None else f"{value[0]:.2f} ({value[1]:.2f}-{value[2]:.2f})"


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows] + [""]


def _grid(results):
    lines = ["## CPU, rate and latency by cell", "",
             "CPU is the server's, user and system, in microseconds an operation. `x CPU`, `x p50`, `x p99` are",
             "ratios to the first server of the cell, taken inside each round: median (least-most). `kernel` is the",
             "CPU of the kernel's own threads in the same time (write-back, for one), which no server is charged for.", ""]
    for result in results:
        lines += [f"### {result['cell']}", ""]
        if not result["rounds"]:
            lines += ["No round was quiet enough.", ""]
            continue
        rows = []
        for name, s in result["summary"].items():
            rows.append([name, f"{s['cpu_us']:.2f}", _ratio(s["cpu_us_ratio"]), f"{s['rate']:.0f}", f"{s['busy']:.0%}",
                         f"{s['p50']:.3f}", _ratio(s["p50_ratio"]), f"{s['p99']:.3f}", _ratio(s["p99_ratio"]),
                         f"{s['p999']:.3f}", f"{s['max']:.2f}", f"{s['res_per_op']:.3f}", f"{s['kernel_us']:.2f}"])
        lines += _table(["server", "CPU us/op", "x CPU", "ops/s", "CPU busy", "p50 ms", "x p50", "p99 ms", "x p99",
                         "p99.9 ms", "max ms", "resched./op", "kernel us/op"], rows)
    return lines


def _extras(extras):
    lines = []
    if extras.get("latency"):
        lines += ["## Latency at an offered rate", "", "50 connections; requests are sent when due and timed from then (no coordinated omission).",
                  "Microseconds, median of the rounds; max is the worst of all rounds.", ""]
        lines += _table(["cell", "offered/s", "server", "achieved/s", "p50", "p90", "p99", "p99.9", "p99.99", "max"],
                        [[r["cell"], f"{r['rate']:.0f}", r["server"], f"{r['achieved']:.0f}",
                          *(f"{r[q]:.0f}" for q in ("p50", "p90", "p99", "p999", "p9999", "worst_max"))] for r in extras["latency"]])
    if extras.get("memory"):
        lines += ["## Memory and recovery", "", "Keys of 11 B with values of 64 B. Recovery is from exec to the first",
                  "answer with every key, after kill -9, both CPUs free, less the start of an empty server; median of three.", ""]
        lines += _table(["server", "keys", "RSS B/key", "added B/key", "M keys/s recovered", "loaded start s", "disk B/key"],
                        [[r["server"], r["keys"], f"{r['rss_per_key']:.0f}", f"{r['added_per_key']:.0f}",
                          f"{r['keys_per_second'] / 1e6:.2f}", " ".join(f"{t:.2f}" for t in r["loaded_start"]),
                          f"{r['disk_per_key']:.0f}"] for r in extras["memory"]])
    if extras.get("commits"):
        lines += ["## Commits under `always`", "", "Commits a second against fio overwriting one file with O_DIRECT and O_DSYNC, one at a time, at the commits' mean",
                  "size, each fio run right after its round. Ferrite counts its commits; of others only the operations are known.", ""]
        lines += _table(["server", "cell", "ops/s", "commits/s", "block", "fio writes/s", "share (least-most)"],
                        [[r["server"], r["cell"], f"{r['rate']:.0f}",
                          *((f"{r['writes']:.0f}", r["block"], f"{r['fio']:.0f}",
                             f"{r['share']:.0%} ({r['least']:.0%}-{r['most']:.0%})") if r["fio"] else "----")] for r in extras["commits"]])
    if extras.get("syscalls"):
        lines += ["## System calls", ""]
        lines += _table(["server", "cell", "syscalls/op"],
                        [[r["server"], r["cell"], f"{r['per_op']:.3f}"] for r in extras["syscalls"]])
    if extras.get("forwarding"):
        lines += ["## Forwarding between shards", "", "Two shards, connections of one shard only, keys of one shard only; CPU of all the server's threads.", ""]
        lines += _table(["cell", "local us/op", "remote us/op", "remote - local us"],
                        [[r["cell"], f"{r['local']:.2f}", f"{r['remote']:.2f}", f"{r['extra']:.2f} ({r['least']:.2f}-{r['most']:.2f})"]
                         for r in extras["forwarding"]])
    return lines


def _plots(results, where, stem):
    """Writes one SVG a figure; returns the Markdown that shows them."""
    lines = []
    groups = [r["cell"] for r in results if r["rounds"]]
    series = []
    for r in results:
        series += [n for n in r["summary"] if n not in series]
    wanted = [("cpu_us_ratio", "Server CPU per operation, ratio to the first server", 1.0),
              ("p50_ratio", "p50, ratio to the first server", 1.0), ("p99_ratio", "p99, ratio to the first server", 1.0)]
    for what, title, mark in wanted:
        values = {r["cell"]: {n: s[what] for n, s in r["summary"].items()} for r in results}
        if not groups:
            continue
        name = f"{stem}-{what.replace('_ratio', '').replace('_', '-')}.svg"
        (where / name).write_text(svg.bars(title, groups, series, values, mark))
        lines += [f"![{title}]({name})", ""]
    return lines


def write(where, stem, head, results, extras):
    """Writes STEM.md, STEM.json and the plots into `where`; returns the path of the Markdown."""
    where.mkdir(parents=True, exist_ok=True)
    lines = [f"# Measurements, {stem}", ""]
    lines += _table(["", ""], head)
    lines += _plots(results, where, stem)
    lines += _grid(results) if results else []
    lines += _extras(extras)
    path = where / f"{stem}.md"
    path.write_text("\n".join(lines).rstrip() + "\n")
    (where / f"{stem}.json").write_text(json.dumps({"head": head, "cells": results, "extras": extras}, indent=1) + "\n")
    return path
