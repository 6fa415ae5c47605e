// SPDX-License-Identifier: Apache-2.0
//
// farm: many scrape targets on one loopback port, cheap enough not to disturb what scrapes them.
// Usage: farm PORT TARGETS SERIES OUT_FILE_SD [step_s=5] [interval_s=0] [text|openmetrics|protobuf]
// Target i is http://127.0.0.1:PORT/t/i ; OUT_FILE_SD is a Prometheus file_sd JSON naming them all.
// All targets serve the same pages (the instance label tells them apart); the page moves on every
// step_s seconds through 720 pre-rendered states: counters, gauges, a classic histogram, constants.
// With interval_s, that of the scraper, it prints every interval how late the requests were,
// against the earliest that a request for the same target has been, intervals apart, and how many
// were missing before them; once, when the last target was first asked for (CLOCK_MONOTONIC).
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_map>
#include <vector>

static const int kCreated = 1700000000;

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
static double u(uint64_t a, uint64_t b) { return (mix(a * 1000003 + b) >> 11) * 0x1p-53; }

// Kinds of metrics by number: 0 counter, 1 to 3 gauges, 4 histogram.
static int kind_of(int m) { return m % 5; }
static double value(int m, int i, int state) {
  const int kind = kind_of(m);
  return kind == 0   ? std::floor((state + 1) * (i % 3 ? 17.0 * (i + 1) + u(m, i) : 0))
         : kind == 1 ? 4096 * std::floor(1e4 * (i + 1) + 500 * u(m * 31 + i, state))
         : kind == 2 ? std::round(100 * (40 + i + 5 * u(m * 77 + i, state / 3))) / 100
                     : double(i % 2);
}
static double bucket(int l, int state) { return std::floor((state + 1) * (l + 1) * 3.7); }

static std::string answer(const char* type, const std::string& body) {
  char h[256];
  snprintf(h, sizeof h, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type,
           body.size());
  return h + body;
}

// Text 0.0.4, or OpenMetrics with the times at which counters and histograms were created.
static std::string page(int series, int state, bool openmetrics) {
  std::string o;
  char b[256];
  int n = 0;
  for (int m = 0; n < series; m++) {
    const int kind = kind_of(m);
    const char* type = kind == 0 ? "counter" : kind == 4 ? "histogram" : "gauge";
    const char* suffix = kind == 0 ? "_total" : "";
    const char* family = openmetrics ? "" : suffix;
    snprintf(b, sizeof b,
             "# HELP farm_metric_%d%s A metric of the target farm, number %d.\n# TYPE "
             "farm_metric_%d%s %s\n",
             m, family, m, m, family, type);
    o += b;
    if (kind == 4) {
      double sum = 0;
      for (int l = 0; l < 10 && n < series; l++, n++) {
        double v = bucket(l, state);
        sum = v * 0.31;
        snprintf(b, sizeof b, "farm_metric_%d_bucket{path=\"/api/v1/things\",le=\"%g\"} %.17g\n", m,
                 0.005 * std::pow(2, l), v);
        o += b;
      }
      snprintf(b, sizeof b, "farm_metric_%d_sum{path=\"/api/v1/things\"} %.9g\n", m, sum);
      o += b;
      if (openmetrics) {
        snprintf(b, sizeof b, "farm_metric_%d_created{path=\"/api/v1/things\"} %d.25\n", m,
                 kCreated);
        o += b;
      }
      n++;
    } else
      for (int i = 0; i < 10 && n < series; i++, n++) {
        const char* labels = "cpu=\"%d\",device=\"nvme%dn1\",mode=\"mode-%d\"";
        char pairs[96];
        snprintf(pairs, sizeof pairs, labels, i, i, m % 7);
        snprintf(b, sizeof b, "farm_metric_%d%s{%s} %.17g\n", m, suffix, pairs, value(m, i, state));
        o += b;
        if (openmetrics && kind == 0) {
          snprintf(b, sizeof b, "farm_metric_%d_created{%s} %d.25\n", m, pairs, kCreated);
          o += b;
        }
      }
  }
  if (!openmetrics) return answer("text/plain; version=0.0.4; charset=utf-8", o);
  return answer("application/openmetrics-text; version=1.0.0; charset=utf-8", o + "# EOF\n");
}

// The wire format of protocol buffers.
struct Message {
  std::string bytes;
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes += char(v | 0x80);
    bytes += char(v);
  }
  void number(int field, uint64_t v) {
    varint(field << 3);
    varint(v);
  }
  void zigzag(int field, int64_t v) { number(field, uint64_t(v) << 1 ^ uint64_t(v >> 63)); }
  void real(int field, double v) {
    varint(field << 3 | 1);
    bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  void text(int field, const std::string& v) {
    varint(field << 3 | 2);
    varint(v.size());
    bytes += v;
  }
};

static std::string label(const char* name, const std::string& v) {
  Message pair;
  pair.text(1, name);
  pair.text(2, v);
  return pair.bytes;
}
static std::string created() {
  Message timestamp;
  timestamp.number(1, kCreated);
  return timestamp.bytes;
}

// Of `buckets` classic ones, beside as many native ones.
static std::string histogram(int buckets, int state) {
  Message h;
  const double last = bucket(buckets - 1, state);
  h.number(1, uint64_t(last));
  h.real(2, last * 0.31);
  Message span;
  span.zigzag(1, 3);
  span.number(2, buckets);
  double before = 0, count = 0;
  Message deltas;
  for (int l = 0; l < buckets; l++) {
    Message classic;
    classic.number(1, uint64_t(bucket(l, state)));
    classic.real(2, 0.005 * std::pow(2, l));
    h.text(3, classic.bytes);
    deltas.zigzag(13, int64_t(bucket(l, state) - before - count));
    count = bucket(l, state) - before;
    before = bucket(l, state);
  }
  h.zigzag(5, 3);
  h.real(6, 1e-128);
  h.text(12, span.bytes);
  h.bytes += deltas.bytes;
  h.text(15, created());
  return h.bytes;
}

static std::string proto_page(int series, int state) {
  Message o;
  int n = 0;
  for (int m = 0; n < series; m++) {
    const int kind = kind_of(m);
    Message family;
    family.text(1, "farm_metric_" + std::to_string(m) + (kind == 0 ? "_total" : ""));
    family.text(2, "A metric of the target farm, number " + std::to_string(m) + ".");
    family.number(3, kind == 0 ? 0 : kind == 4 ? 4 : 1);
    if (kind == 4) {
      Message metric;
      metric.text(1, label("path", "/api/v1/things"));
      metric.text(7, histogram(std::min(10, series - n), state));
      family.text(4, metric.bytes);
      n += std::min(10, series - n) + 1;
    } else
      for (int i = 0; i < 10 && n < series; i++, n++) {
        Message metric, number;
        metric.text(1, label("cpu", std::to_string(i)));
        metric.text(1, label("device", "nvme" + std::to_string(i) + "n1"));
        metric.text(1, label("mode", "mode-" + std::to_string(m % 7)));
        number.real(1, value(m, i, state));
        if (kind == 0) number.text(3, created());
        metric.text(kind == 0 ? 3 : 2, number.bytes);
        family.text(4, metric.bytes);
      }
    o.varint(family.bytes.size());
    o.bytes += family.bytes;
  }
  return answer(
      "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
      "encoding=delimited",
      o.bytes);
}

static double now_s() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

struct Punctuality {
  double interval = 0;
  std::vector<double> expected;  // By target; 0 = not seen yet.
  std::vector<double> last;
  size_t seen = 0;
  size_t missed = 0;            // Of the current interval, as late_ms.
  std::vector<double> late_ms;  // Of the current interval.
  double printed = 0;

  void arrived(const std::string& request) {
    const size_t at = request.find("/t/");
    const size_t target =
        at == std::string::npos ? expected.size() : strtoul(&request[at + 3], nullptr, 10);
    if (interval <= 0 || target >= expected.size()) return;
    const double now = now_s();
    double& due = expected[target];
    if (due == 0) {
      due = now;
      if (++seen == expected.size()) {
        printf("farm: last target first seen at %.3f\n", now);
        fflush(stdout);
      }
    } else {
      missed += size_t(std::max(0.0, std::round((now - last[target]) / interval) - 1));
      const double off = now - due - interval * std::round((now - due) / interval);
      if (off < 0) due += off;
      late_ms.push_back(1000 * std::max(0.0, off));
    }
    last[target] = now;
    if (printed == 0) printed = now;
    if (now - printed < interval || late_ms.empty()) return;
    printed = now;
    std::sort(late_ms.begin(), late_ms.end());
    const auto at_share = [&](double share) {
      return late_ms[size_t(share * double(late_ms.size() - 1))];
    };
    printf("farm: %zu requests, late by ms: median %.1f, 99%% %.1f, most %.1f; %zu missing\n",
           late_ms.size(), at_share(0.5), at_share(0.99), late_ms.back(), missed);
    fflush(stdout);
    late_ms.clear();
    missed = 0;
  }
};

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: farm PORT TARGETS SERIES OUT_FILE_SD [step_s] [interval_s] [format]\n");
    return 2;
  }
  int port = atoi(argv[1]), targets = atoi(argv[2]), series = atoi(argv[3]),
      step = argc > 5 ? atoi(argv[5]) : 5;
  Punctuality punctuality;
  punctuality.interval = argc > 6 ? atof(argv[6]) : 0;
  punctuality.expected.resize(targets);
  punctuality.last.resize(targets);
  FILE* f = fopen(argv[4], "w");
  fprintf(f, "[");
  for (int i = 0; i < targets; i++)
    fprintf(f,
            "%s{\"targets\":[\"127.0.0.1:%d\"],\"labels\":{\"__metrics_path__\":\"/t/"
            "%d\",\"instance\":\"target-%d\",\"zone\":\"z%d\"}}\n",
            i ? "," : "", port, i, i, i % 3);
  fprintf(f, "]\n");
  fclose(f);
  std::vector<std::string> pages;
  const std::string format = argc > 7 ? argv[7] : "text";
  for (int s = 0; s < 720; s++) {
    pages.push_back(format == "protobuf" ? proto_page(series, s)
                                         : page(series, s, format == "openmetrics"));
  }
  int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a) || listen(l, 4096)) {
    perror("farm");
    return 1;
  }
  int e = epoll_create1(0);
  epoll_event ev{EPOLLIN, {.fd = l}};
  epoll_ctl(e, EPOLL_CTL_ADD, l, &ev);
  struct Conn {
    std::string in, out;
    size_t off = 0;
  };
  std::unordered_map<int, Conn> cs;
  printf("farm: %d targets x %d series, page %zu bytes, port %d\n", targets, series,
         pages[0].size(), port);
  fflush(stdout);
  time_t t0 = time(nullptr);
  epoll_event evs[256];
  for (;;) {
    int n = epoll_wait(e, evs, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = evs[i].data.fd;
      if (fd == l) {
        int c = accept4(l, nullptr, nullptr, SOCK_NONBLOCK);
        if (c >= 0) {
          setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          epoll_event x{EPOLLIN, {.fd = c}};
          epoll_ctl(e, EPOLL_CTL_ADD, c, &x);
          cs[c];
        }
        continue;
      }
      Conn& c = cs[fd];
      bool dead = false;
      if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        char b[16384];
        ssize_t r = read(fd, b, sizeof b);
        if (r <= 0)
          dead = !(r < 0 && errno == EAGAIN);
        else
          c.in.append(b, r);
      }
      for (size_t p; !dead && (p = c.in.find("\r\n\r\n")) != std::string::npos;) {
        punctuality.arrived(c.in);
        c.in.erase(0, p + 4);
        c.out += pages[((time(nullptr) - t0) / step) % pages.size()];
      }
      while (!dead && c.off < c.out.size()) {
        ssize_t w = write(fd, c.out.data() + c.off, c.out.size() - c.off);
        if (w < 0) {
          dead = errno != EAGAIN;
          break;
        }
        c.off += w;
      }
      if (c.off == c.out.size()) {
        c.out.clear();
        c.off = 0;
      }
      if (dead) {
        close(fd);
        cs.erase(fd);
        continue;
      }
      epoll_event x{c.out.empty() ? uint32_t(EPOLLIN) : uint32_t(EPOLLIN | EPOLLOUT), {.fd = fd}};
      epoll_ctl(e, EPOLL_CTL_MOD, fd, &x);
    }
  }
}
