#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times a fixed set of PromQL queries against several servers in turn (A B A B ...).

usage: querybench.py START END name=url[,pid] [name=url[,pid] ...]
The first server is the reference. Each repetition shifts the window by one step, so a result cache alone cannot win.
Per query and server: median ms of 5 runs, CPU ms and peak resident MB over idle if a pid is given, and an answer digest.
A query that errors anywhere, or whose answer differs from the reference in series or points, counts as failed: it is named,
takes no part in the mean, and the exit status is 1. 'agrees' allows 1 % on the sum of values (ranges are left-open in Prometheus 3, closed in 2).
"""
import json, math, os, statistics, sys, time, urllib.parse, urllib.request

Q = [
    ("rate_sum_24h", 'sum by (namespace)(rate(http_requests_total[5m]))', 86400, 60),
    ("hist_q_24h", 'histogram_quantile(0.99, sum by (le,path)(rate(http_request_duration_seconds_bucket[5m])))', 86400, 60),
    ("topk_6h", 'topk(5, rate(container_cpu_usage_seconds_total[5m]))', 21600, 15),
    ("raw_24h", 'node_hwmon_temp_celsius', 86400, 60),
    ("max1h_24h", 'max_over_time(container_memory_working_set_bytes[1h])', 86400, 300),
    ("ratio_24h", 'sum by (container)(container_memory_working_set_bytes) / on() group_left() sum(container_memory_working_set_bytes)', 86400, 60),
    ("avg6h_24h", 'avg_over_time(node_cpu_seconds_total{mode="idle"}[6h])', 86400, 600),
    ("cpu_24h_15s", '1 - avg by (instance)(rate(node_cpu_seconds_total{mode="idle"}[5m]))', 86400, 15),
    ("quantile1h", 'quantile_over_time(0.95, process_load_ratio[1h])', 86400, 60),
    ("subquery", 'max_over_time(sum by (job)(rate(http_requests_total[5m]))[1h:1m])', 86400, 300),
    ("rate_dash_1h", 'sum by (code)(rate(http_requests_total{namespace="ns-3"}[5m]))', 3600, 15),
    ("inst_regex", '{__name__=~"node_.*",instance="10.0.0.1:8080"}', 0, 0),
    ("inst_countall", 'count by (__name__)({__name__!=""})', 0, 0),
    ("labels", '/api/v1/label/__name__/values', -1, 0),
    ("series", '/api/v1/series?match[]={namespace="ns-3"}', -1, 0),
]

def cpu(pid):
    if not pid: return 0.0
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) * 1000.0 / os.sysconf("SC_CLK_TCK")

def status(pid, key):
    for l in open(f"/proc/{pid}/status"):
        if l.startswith(key): return int(l.split()[1]) / 1024
    return 0.0

def get(base, q, start, end, span, step):
    if span == -1:
        path, _, qs = q.partition("?")
        if qs: k, v = qs.split("=", 1); qs = k + "=" + urllib.parse.quote(v)
        u = base + path + "?" + (qs + "&" if qs else "") + f"start={start}&end={end}"
    elif span == 0: u = base + "/api/v1/query?" + urllib.parse.urlencode({"query": q, "time": end})
    else: u = base + "/api/v1/query_range?" + urllib.parse.urlencode({"query": q, "start": end - span, "end": end, "step": step})
    t = time.perf_counter()
    body = urllib.request.urlopen(u, timeout=300).read()
    return (time.perf_counter() - t) * 1000, body

def digest(body):
    d = json.loads(body)["data"]
    if isinstance(d, list): return (len(d), 0, 0.0)
    n = 0; s = 0.0
    for r in d["result"]:
        for _, v in r.get("values", [r.get("value", (0, "0"))]):
            n += 1; x = float(v); s += x if x == x and abs(x) < 1e300 else 0
    return (len(d["result"]), n, s)

def agrees(name, a, b):
    if isinstance(a, str) or isinstance(b, str): return False
    if name == "topk_6h": return a[1] == b[1]  # ties may fall either way
    if a[0] != b[0] or abs(a[1] - b[1]) > 0.002 * a[1]: return False
    return abs(a[2] - b[2]) <= (0.05 if name.startswith("hist") else 0.01) * max(abs(a[2]), abs(b[2]), 1e-9)

start, end = int(sys.argv[1]), int(sys.argv[2])
servers = []
for a in sys.argv[3:]:
    n, u = a.split("=", 1); u, _, p = u.partition(","); servers.append((n, u, p))
ref = servers[0][0]; ratios = {n: [] for n, _, _ in servers}; tot = {n: 0.0 for n, _, _ in servers}; failed = []; slower = []
for name, q, span, step in Q:
    ms = {n: [] for n, _, _ in servers}; cp = {n: [] for n, _, _ in servers}; mem = {n: 0.0 for n, _, _ in servers}; dg = {}
    for rep in range(6):
        for n, u, p in servers:
            try:
                if p:
                    open(f"/proc/{p}/clear_refs", "w").write("5"); m0 = status(p, "VmRSS")
                c0 = cpu(p); t, b = get(u, q, start, end - rep * (step or 60), span, step); c1 = cpu(p)
                if p: mem[n] = max(mem[n], status(p, "VmHWM") - m0)
                if rep: ms[n].append(t); cp[n].append(c1 - c0)
                dg[(n, rep)] = digest(b)
            except Exception as e: dg[(n, rep)] = "ERR " + str(e)[:60]
    row = [f"{name:14s}"]
    for n, _, p in servers:
        ok = all(agrees(name, dg[(ref, r)], dg[(n, r)]) for r in range(6))
        m = statistics.median(ms[n]) if ms[n] else float("nan"); d = dg[(n, 5)]
        row.append(f"{n} {m:8.1f} ms cpu {statistics.median(cp[n]) if cp[n] else float('nan'):6.0f} mem +{mem[n]:.0f} MB {d if isinstance(d, str) else (d[0], d[1], float(f'{d[2]:.6g}'))}{'' if ok else ' DIFFERS'}")
        if not ok: failed.append(f"{name}:{n}")
        else:
            tot[n] += m; ratios[n].append((m, statistics.median(ms[ref])))
            if n != ref and m > statistics.median(ms[ref]): slower.append(f"{name}:{n}")
    print(" | ".join(row), flush=True)
for n in tot:
    g = math.exp(sum(math.log(x / y) for x, y in ratios[n]) / max(1, len(ratios[n])))
    print(f"{n}: {len(ratios[n])} of {len(Q)} agree, total {tot[n]:.0f} ms, geometric mean of time ratio to {ref}: {g:.3f}")
if slower: print("slower than the reference:", " ".join(slower))
if failed: print("failed:", " ".join(failed))
sys.exit(1 if failed else 0)
