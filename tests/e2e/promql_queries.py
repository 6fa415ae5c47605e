# SPDX-License-Identifier: Apache-2.0
"""The data and the queries of test_promql_parity.py: a fixed list, and a generator.

Sample times are never whole seconds, and query times, ranges and offsets always are: no sample lies
on the edge of a window, which 2.42 counts in and 3.x does not. Subqueries keep their edges off the
multiples of their step for the same reason: queries run at 7 s past a multiple of 10 s, and the
ranges of inner subqueries are no multiples of 10 s.
"""

import random
import struct

STEP_MS = 15_000
SAMPLES = 161  # 40 minutes.
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def series(rng: random.Random, start_ms: int) -> list:
    """Two gauges, two counters, classic and native histograms, one series of odd values, one of
    metadata. Values are multiples of 1/4, so that sums do not depend on their order."""
    times = [start_ms + i * STEP_MS + rng.randrange(1, 990) for i in range(SAMPLES)]
    assert all(time % 1000 for time in times)
    made = []
    for number, (job, zone) in enumerate((("a", "x"), ("a", "y"), ("b", "x"), ("b", ""))):
        labels = {"job": job, "instance": f"h{number}"} | ({"zone": zone} if zone else {})
        made.append(({"__name__": "g", **labels}, _gauge(rng, times)))
        made.append(({"__name__": "other", **labels}, _gauge(rng, times)))
        made.append(({"__name__": "c_total", **labels}, _counter(rng, times, resets=number > 0)))
        made.append(({"__name__": "meta", "instance": f"h{number}", "rack": f"r{number % 2}"},
                     [(time, 1.0) for time in times]))
        for le, share in (("0.5", 1), ("1", 3), ("2.5", 6), ("+Inf", 7)):
            made.append(({"__name__": "lat_bucket", "le": le, **labels},
                         [(time, float(share * i * (number + 1))) for i, time in enumerate(times)]))
    odd = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e-9, 1e21, 123456789.125, 1.0]
    made.append(({"__name__": "odd", "job": "a"},
                 [(time, odd[i % len(odd)]) for i, time in enumerate(times)]))
    made.append(({"__name__": "odd", "job": "b"},
                 [(time, odd[(i * 5 + 3) % len(odd)]) for i, time in enumerate(times)]))
    made.append(({"__name__": "numbers", "n": "3"}, [(time, 3.0) for time in times]))
    # Appears only in the middle; then a marker ends it.
    made.append(({"__name__": "brief", "job": "a"},
                 [(time, 2.5) for time in times[60:80]] + [(times[80], STALE)]))
    for job in ("a", "b"):
        made.append(({"__name__": "native", "job": job},
                     [(time, {"schema": 0, "zero_threshold": 0.001, "zero_count": i, "sum": 4.5 * i,
                              "start": 0, "positive": [i, 0, 2 * i]})
                      for i, time in enumerate(times) if i]))
    return made


def _gauge(rng: random.Random, times: list) -> list:
    """A walk with gaps of some scrapes, and stale markers before some of them."""
    value = float(rng.randrange(-40, 40))
    samples = []
    gap = 0
    for time in times:
        value += rng.randrange(-20, 21) / 4
        if gap:
            gap -= 1
            continue
        if rng.random() < 0.02:
            gap = rng.randrange(1, 30)
            if rng.random() < 0.5:
                samples.append((time, STALE))
                continue
        samples.append((time, value))
    return samples


def _counter(rng: random.Random, times: list, resets: bool) -> list:
    """Starts high, without a reset at first: no window could be extrapolated below zero, which 2.42
    and 3.x prevent differently."""
    value = 100_000.0
    samples = []
    for i, time in enumerate(times):
        value += rng.randrange(0, 40) / 4
        if resets and i > 8 and rng.random() < 0.03:
            value = 100_000.0
        samples.append((time, value))
    return samples


# Every function, operator and modifier that 2.42 knows. One query a line.
FIXED = r"""
g
g{job="a"}
g{job!="a"}
g{job=~"a|b",zone=~".+"}
g{zone!~"x.*"}
g{zone=""}
{__name__=~"g|other",job="b"}
g offset 1m
g offset -2m
g @ {mid}
g @ start()
g @ end()
g @ {mid} offset 1m
g offset 1m @ {mid}
brief
brief offset 5m
g[2m]
g[2m] offset 1m
g[2m] @ {mid}
brief[20m]
c_total[5m:30s]
g[5m:]
1
-1
1.5e3
0x1F
NaN
Inf
-Inf
"a string"
time()
pi()
1 + 2 * 3 ^ 2 ^ 0.5 % 5 - 4 / 3
2 ^ -1
-2 ^ 2
7 % -3
-7 % 3
7.5 % 0
1 / 0
0 / 0
1 == bool 1
1 != bool 1
1 < bool 2
2 <= bool 1
NaN == bool NaN
2 atan2 3
vector(3)
vector(time())
scalar(numbers)
scalar(g)
-g
+g
-(g > 0)
g + 1
1 - g
g * 2.5
g / 0
g % 7
3 % g
g ^ 2
g atan2 2
g > 0
0 < g
g >= bool 0
g == g
g != g
g < other
g <= bool other
g + other
g - on (instance) other
g * on (job, instance) other
g / ignoring (zone) other
g % on (instance) other
g ^ on (instance) (other % 3)
g atan2 on (instance) other
g > on (instance) other
g == on (job, instance, zone) g
g * on (instance) group_left meta
g * on (instance) group_left (rack) meta
meta * on (instance) group_right (job) g
meta * on (instance) group_right g
g * on (job) group_left sum by (job) (other)
g > on (job) group_left sum by (job) (other)
g > bool on (job) group_left () sum by (job) (other)
g * ignoring (zone, instance) group_left sum by (job) (other)
g / on () group_left sum(other)
g and other
g and on (job) other{job="a"}
g and ignoring (zone) other
g or other
g or on (job) other
g unless other
g unless on (job) other{job="a"}
g > 5 or other < 5
(g > 5) and (other < 5) unless brief
g and on () brief
vector(1) or g
g > 3 and g < 10
sum(g)
sum by (job) (g)
sum without (instance) (g)
sum by (job, zone) (g)
sum by () (g)
sum by (nosuch) (g)
sum(g) by (job)
sum(odd)
avg(g)
avg by (job) (g)
avg(odd)
min(g)
max(g)
min by (job) (odd)
max by (job) (odd)
min(odd)
max(odd)
count(g)
count by (zone) (g)
count(odd)
group(g)
group by (job) (g)
stddev(g)
stddev by (job) (g)
stdvar(g)
stdvar without (zone) (g)
quantile(0.5, g)
quantile by (job) (0.9, g)
quantile(-1, g)
quantile(2, g)
quantile(NaN, g)
quantile(0.25, odd)
quantile(scalar(numbers) / 4, g)
topk(2, g)
topk by (job) (1, g)
topk(0, g)
topk(-1, g)
topk(100, g)
topk(3, odd)
topk without (instance) (1, g)
topk(scalar(numbers), g)
bottomk(2, g)
bottomk by (zone) (1, g)
bottomk(3, odd)
count_values("value", round(g / 10))
count_values by (job) ("value", round(g, 5))
count_values("job", round(g / 20))
count_values("value", odd)
abs(g)
ceil(g)
floor(g)
exp(g / 10)
sqrt(g)
ln(g)
log2(g)
log10(g)
sgn(g)
sgn(odd)
deg(g)
rad(g)
sin(g)
cos(g)
tan(g)
asin(g / 50)
acos(g / 50)
atan(g)
sinh(g / 10)
cosh(g / 10)
tanh(g)
asinh(g)
acosh(g)
atanh(g / 50)
abs(odd)
ceil(odd)
floor(odd)
round(g)
round(g, 0.5)
round(g, 3)
round(odd)
round(g, -2)
clamp(g, 0, 10)
clamp(g, 10, 0)
clamp(odd, 0, 10)
clamp_min(g, 0)
clamp_max(g, 0)
clamp_min(odd, NaN)
clamp_min(odd, 0)
clamp_max(odd, 0)
clamp_min(odd, -0)
clamp_max(odd, -0)
timestamp(g)
timestamp(g offset 1m)
timestamp(g + 1)
timestamp(vector(1))
minute()
hour()
day_of_week()
day_of_month()
day_of_year()
days_in_month()
month()
year()
minute(c_total)
hour(c_total * 1000)
day_of_week(c_total * 10000)
day_of_month(c_total * 10000)
day_of_year(c_total * 10000)
days_in_month(c_total * 30000)
month(c_total * 30000)
year(c_total * 30000)
hour(vector(-3600.5))
absent(nosuch{job="a", zone!="x"})
absent(g)
absent(nosuch{job="a", job="b", x="1"})
absent(sum(nosuch))
absent(g > 1000)
absent_over_time(nosuch{job="a"}[5m])
absent_over_time(g[5m])
absent_over_time(brief{job="a"}[1m])
sort(g)
sort_desc(g)
sort(odd)
sort_desc(odd)
label_replace(g, "host", "host-$1", "instance", "h(.*)")
label_replace(g, "zone", "", "job", "a")
label_replace(g, "x", "$2", "instance", "(h)(.)")
label_replace(g, "x", "${name}", "instance", "(?P<name>.).*")
label_replace(g, "x", "y", "nosuch", "")
label_replace(g, "x", "y", "job", "nomatch")
label_replace(g, "__name__", "renamed", "job", ".*")
label_join(g, "both", "-", "job", "instance")
label_join(g, "both", "-")
label_join(g, "job", "", "nosuch")
label_join(g, "both", "/", "job", "nosuch", "instance")
rate(c_total[1m])
rate(c_total[5m])
rate(c_total[20s])
rate(c_total[10s])
increase(c_total[5m])
increase(c_total[61s])
delta(g[5m])
delta(c_total[3m])
rate(c_total[5m] offset 2m)
rate(c_total[5m] @ {mid})
rate(c_total[30m])
irate(c_total[5m])
idelta(g[5m])
irate(c_total[20s])
changes(g[5m])
changes(odd[5m])
resets(c_total[10m])
resets(g[5m])
deriv(g[5m])
deriv(c_total[5m])
deriv(numbers[5m])
predict_linear(g[5m], 600)
predict_linear(c_total[5m], -60)
predict_linear(numbers[5m], 60)
avg_over_time(g[5m])
avg_over_time(odd[1m])
sum_over_time(g[5m])
sum_over_time(odd[1m])
min_over_time(g[5m])
max_over_time(g[5m])
min_over_time(odd[2m])
max_over_time(odd[2m])
count_over_time(g[5m])
count_over_time(brief[10m])
stddev_over_time(g[5m])
stdvar_over_time(g[5m])
stdvar_over_time(numbers[5m])
quantile_over_time(0.5, g[5m])
quantile_over_time(0.95, g[5m])
quantile_over_time(-1, g[5m])
quantile_over_time(2, g[5m])
quantile_over_time(NaN, g[5m])
quantile_over_time(0.5, odd[2m])
last_over_time(g[5m])
last_over_time(brief[10m])
present_over_time(g[5m])
present_over_time(brief[10m])
histogram_quantile(0.5, lat_bucket)
histogram_quantile(0.9, sum by (le) (rate(lat_bucket[5m])))
histogram_quantile(0.99, sum by (le, job) (rate(lat_bucket[5m])))
histogram_quantile(0, rate(lat_bucket[5m]))
histogram_quantile(1, rate(lat_bucket[5m]))
histogram_quantile(-1, lat_bucket)
histogram_quantile(2, lat_bucket)
histogram_quantile(NaN, lat_bucket)
histogram_quantile(0.5, lat_bucket{le!="+Inf"})
histogram_quantile(0.5, lat_bucket{le=~"0.5|[+]Inf"})
histogram_quantile(0.5, lat_bucket{le="+Inf"})
histogram_quantile(0.5, g)
histogram_quantile(scalar(numbers) / 4, lat_bucket)
histogram_count(native)
histogram_sum(native)
histogram_count(sum(native))
histogram_sum(rate(native[5m]))
histogram_count(increase(native[5m]))
native
sum(native)
rate(native[5m])
count(native)
group(native)
native + native
histogram_count(g)
avg_over_time(g[5m:10s])
max_over_time(rate(c_total[1m])[10m:30s])
max_over_time(sum by (job) (rate(c_total[1m]))[10m:1m])
min_over_time((g > 0)[5m:20s])
sum_over_time(vector(1)[1m:10s])
count_over_time((g - g offset 1m)[3m3s:10s])
max_over_time(min_over_time(g[1m3s:10s])[3m3s:10s])
rate((c_total * 2)[5m:10s])
deriv(rate(c_total[1m])[5m:30s])
last_over_time(g[5m:1m] @ {mid})
last_over_time(g[5m:1m] offset 1m)
quantile_over_time(0.5, sum(g)[5m:10s])
absent_over_time((g > 10000)[5m:10s])
timestamp(last_over_time(g[1m]))
changes((g > bool 0)[5m:10s])
sum(rate(c_total[5m])) by (job) / on (job) sum(g) by (job)
sum(c_total) - sum(c_total offset 5m)
100 * (1 - avg by (job) (rate(c_total[5m]) > bool 0.5))
count(g > 0) or vector(0)
max by (job) (g) - min by (job) (g)
topk(1, sum by (zone) (g)) or bottomk(1, g)
g[5m] # a comment
sum (
  g
)
""".strip()

# What fails while it runs, or on parsing only because of types.
BROKEN = r"""
g * on (job) other
g * on (job) group_left other
g + on () group_right other
label_replace(g, "x-y", "a", "job", ".*")
label_replace(g, "x", "a", "job", "(")
label_replace(g, "instance", "same", "job", ".*")
label_join(g, "", "-", "job")
count_values("", g)
{__name__=~"g|other"} + 0
-{__name__=~"g|other"}
rate({__name__=~"g|other"}[1m])
""".strip()


def fixed(mid: int) -> list:
    """A comment or a bracket may span lines: those are joined."""
    queries = FIXED.replace("sum (\n  g\n)", "sum (\r  g\r)").split("\n")
    return [query.replace("\r", "\n").replace("{mid}", str(mid)) for query in queries]


def broken() -> list:
    return BROKEN.split("\n")


class Generator:
    """Random queries of what both versions compute to the same bit. Sums and averages, which
    need a tolerance, are outermost, so that no comparison depends on their last bits. No
    deviations: where a group's first value is NaN or infinite, they are NaN since 3.x only. No
    topk() either: which of equal values it keeps is not defined."""

    def __init__(self, rng: random.Random, mid: int):
        self.rng = rng
        self.mid = mid

    def query(self) -> str:
        inner = self.vector(self.rng.randrange(1, 5))
        if self.rng.random() < 0.8:
            return inner
        return f"{self.pick('sum', 'avg')}{self.grouping()} ({inner})"

    def pick(self, *options):
        return self.rng.choice(options)

    def matchers(self) -> str:
        return self.pick("", "", "", '{job="a"}', '{job!="a"}', '{zone=~"x|y"}', '{zone!~"x"}',
                         '{zone=""}', '{instance=~"h[02]"}')

    def modifiers(self) -> str:
        return self.pick("", "", "", "", " offset 1m", " offset -30s", f" @ {self.mid}",
                         " @ start()", " @ end()", f" @ {self.mid} offset 90s")

    def selector(self) -> str:
        return self.pick("g", "other", "c_total", "odd", "brief", "meta") + self.matchers()

    def window(self, depth: int) -> str:
        """Seconds that are no multiple of ten, see the module's text."""
        if depth <= 0 or self.rng.random() < 0.7:
            length = self.pick("33s", "1m3s", "3m3s", "10m3s")
            return f"{self.pick('g', 'other', 'c_total', 'odd')}{self.matchers()}[{length}]" \
                   f"{self.modifiers()}"
        step = self.pick("10s", "30s", "1m", "")
        return f"({self.vector(depth - 1)})[{self.pick('1m3s', '5m3s')}:{step}]{self.modifiers()}"

    def scalar(self) -> str:
        return self.pick("0", "1", "-2", "3.25", "1e3", "time()", "scalar(numbers)", "pi()")

    def grouping(self) -> str:
        return self.pick("", " by (job)", " by (zone)", " by (job, instance)", " without (instance)",
                         " without (zone, job)")

    def vector(self, depth: int) -> str:
        if depth <= 0:
            return self.selector() + self.modifiers()
        kind = self.rng.randrange(10)
        if kind < 2:
            return self.aggregation(depth)
        if kind < 5:
            return self.range_call(depth)
        if kind < 6:
            return self.call(depth)
        if kind < 9:
            return self.binary(depth)
        return self.selector() + self.modifiers()

    def aggregation(self, depth: int) -> str:
        inner = self.vector(depth - 1)
        name = self.pick("min", "max", "count", "group", "quantile")
        parameter = self.pick("0.5, ", "0.9, ", "1, ") if name == "quantile" else ""
        return f"{name}{self.grouping()} ({parameter}{inner})"

    def range_call(self, depth: int) -> str:
        if self.rng.random() < 0.2:
            length = self.pick("33s", "1m3s", "3m3s", "10m3s")
            return f"{self.pick('rate', 'increase')}(c_total{self.matchers()}[{length}]" \
                   f"{self.modifiers()})"
        name = self.pick("delta", "irate", "idelta", "changes", "resets",
                         "min_over_time", "max_over_time", "count_over_time", "last_over_time",
                         "present_over_time", "quantile_over_time", "sum_over_time", "deriv",
                         "stdvar_over_time", "absent_over_time")
        parameter = self.pick("0.5, ", "0.9, ") if name == "quantile_over_time" else ""
        return f"{name}({parameter}{self.window(depth)})"

    def call(self, depth: int) -> str:
        inner = self.vector(depth - 1)
        return self.pick(f"abs({inner})", f"ceil({inner})", f"floor({inner})", f"sqrt({inner})",
                         f"sgn({inner})", f"round({inner}, 0.5)", f"clamp({inner}, -5, 5)",
                         f"clamp_min({inner}, {self.scalar()})", f"timestamp({inner})",
                         f"absent({inner})", f"-({inner})", f"vector({self.scalar()})",
                         f'label_replace({inner}, "new", "$1!", "instance", "h(.)")',
                         f'label_join({inner}, "new", "+", "job", "zone")')

    def binary(self, depth: int) -> str:
        left, right = self.vector(depth - 1), self.vector(depth - 2)
        kind = self.rng.randrange(4)
        if kind == 0:
            return f"({left}) {self.pick('and', 'or', 'unless')}{self.pick('', ' on (job)')} ({right})"
        operator = self.pick("+", "-", "*", "/", "%", "==", "!=", ">", "<=", "> bool", "== bool")
        if kind == 1:
            return f"({left}) {operator} {self.scalar()}"
        if kind == 2:
            return f"({left}) {operator}{self.pick('', ' ignoring (zone)')} ({right})"
        return f"({left}) {operator} on (instance) group_left (rack) meta"
