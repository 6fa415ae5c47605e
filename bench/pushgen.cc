// SPDX-License-Identifier: Apache-2.0
//
// pushgen: a deterministic remote-write (1.0) load of realistic Kubernetes-like series.
// Every target has 1000 series: counters, histograms, byte gauges, decimal gauges, constants.
// Usage: pushgen URL targets start_s end_s step_s [churn_hours=0] [threads=2]
//   churn_hours > 0: each target's pod label changes every so many hours (new series).
// Prints: samples, wall seconds, samples/s, bytes sent.
#include <curl/curl.h>
#include <snappy.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
struct Rng {
  uint64_t s;
  uint64_t next() { return s = mix(s); }
  double u() { return (next() >> 11) * 0x1p-53; }
};

enum Kind {
  kUp,
  kConst,
  kIntCounter,
  kCpuCounter,
  kNanoCounter,
  kByteCounter,
  kByteGauge,
  kDecGauge,
  kFullGauge,
  kHist
};
struct Series {
  std::string labels;
  Kind kind;
  double rate;
  double v;
};  // labels: encoded repeated Label fields

static void varint(std::string& o, uint64_t v) {
  while (v >= 128) {
    o.push_back(char(v | 128));
    v >>= 7;
  }
  o.push_back(char(v));
}
static void label(std::string& o, const std::string& n, const std::string& v) {
  std::string b;
  b.push_back(0x0a);
  varint(b, n.size());
  b += n;
  b.push_back(0x12);
  varint(b, v.size());
  b += v;
  o.push_back(0x0a);
  varint(o, b.size());
  o += b;
}
using L = std::vector<std::pair<std::string, std::string>>;
static std::string labels(L l) {
  std::sort(l.begin(), l.end());
  std::string o;
  for (auto& [n, v] : l) label(o, n, v);
  return o;
}

struct Target {
  int id;
  int gen = -1;
  Rng rng;
  std::vector<Series> s;
  int64_t offset;
  void build(int g) {
    gen = g;
    std::vector<Series> n;
    auto id_text = std::to_string(id);
    L base = {
        {"instance", "10.0." + std::to_string(id / 250) + "." + std::to_string(id % 250) + ":8080"},
        {"job", "kubernetes-pods"},
        {"namespace", "ns-" + std::to_string(id % 13)},
        {"pod", "app-" + std::to_string(id % 37) + "-" +
                    std::to_string(mix(id * 1000 + g) % 1000000007ULL)}};
    auto add = [&](Kind k, double rate, const std::string& name, L extra) {
      extra.insert(extra.end(), base.begin(), base.end());
      extra.push_back({"__name__", name});
      n.push_back({labels(extra), k, rate, 0});
    };
    add(kUp, 0, "up", {});
    for (int c = 0; c < 16; c++)
      for (const char* m : {"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"})
        add(kCpuCounter,
            m[0] == 'i' && m[1] == 'd'
                ? 0.8
                : (m[0] == 'u' ? 0.15 : (m[0] == 's' && m[1] == 'y' ? 0.05 : 0.0)),
            "node_cpu_seconds_total", {{"cpu", std::to_string(c)}, {"mode", m}});
    for (const char* m : {"GET", "POST", "PUT", "DELETE"})
      for (int p = 0; p < 10; p++)
        for (const char* c : {"200", "201", "404", "500", "503"})
          add(kIntCounter, c[0] == '2' ? 5.0 * (p + 1) : (p < 3 ? 0.2 : 0.0), "http_requests_total",
              {{"method", m}, {"path", "/api/v1/res" + std::to_string(p)}, {"code", c}});
    for (int p = 0; p < 10; p++) {
      const char* les[] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
                           "0.5",   "1",    "2.5",   "5",    "10",  "+Inf"};
      for (int i = 0; i < 12; i++)
        add(kHist, 3.0 * (p + 1) * (1 - std::exp(-(i + 1) / 3.0)),
            "http_request_duration_seconds_bucket",
            {{"path", "/api/v1/res" + std::to_string(p)}, {"le", les[i]}});
      add(kNanoCounter, 0.3 * (p + 1), "http_request_duration_seconds_sum",
          {{"path", "/api/v1/res" + std::to_string(p)}});
      add(kIntCounter, 3.0 * (p + 1), "http_request_duration_seconds_count",
          {{"path", "/api/v1/res" + std::to_string(p)}});
    }
    for (const char* d : {"eth0", "eth1", "lo", "cni0"})
      for (const char* m : {"receive_bytes", "receive_drop", "receive_errs", "receive_packets",
                            "receive_fifo", "transmit_bytes", "transmit_drop", "transmit_errs",
                            "transmit_packets", "transmit_fifo"})
        add(kByteCounter, strstr(m, "bytes") ? 1e5 : (strstr(m, "packets") ? 300 : 0),
            std::string("node_network_") + m + "_total", {{"device", d}});
    for (int c = 0; c < 50; c++) {
      add(kByteGauge, 1e8 * (c + 1), "container_memory_working_set_bytes",
          {{"container", "c" + std::to_string(c)}});
      add(kNanoCounter, 0.01 * (c + 1), "container_cpu_usage_seconds_total",
          {{"container", "c" + std::to_string(c)}});
    }
    for (int c = 0; c < 20; c++)
      add(kDecGauge, 40 + c, "node_hwmon_temp_celsius", {{"sensor", "t" + std::to_string(c)}});
    for (int c = 0; c < 11; c++)
      add(kFullGauge, c + 1, "process_load_ratio", {{"core", std::to_string(c)}});
    while (n.size() < 1000) {
      int k = int(n.size());
      add(kConst, double(k % 3 ? (k % 7 ? 0 : k * 1024) : 1),
          "kube_object_state_" + std::to_string(k % 40), {{"object", "o" + std::to_string(k)}});
    }
    Rng r0{mix(id + 77)};
    for (auto& x : n)
      x.v = x.kind == kByteGauge || x.kind == kDecGauge || x.kind == kFullGauge || x.kind == kConst
                ? x.rate
                : (x.rate > 0 && g == 0 ? std::floor(r0.u() * 1e6) : 0);
    s = std::move(n);
  }
  double step(Series& x, double dt) {
    switch (x.kind) {
      case kUp:
        return 1;
      case kConst:
        return x.v;
      case kIntCounter:
      case kHist:
        if (x.rate > 0) x.v += std::floor(x.rate * dt * (0.5 + rng.u()));
        return x.v;
      case kCpuCounter:
        if (x.rate > 0) x.v += x.rate * dt * (0.8 + 0.4 * rng.u());
        return std::round(x.v * 100) / 100;
      case kNanoCounter:
        x.v += x.rate * dt * (0.5 + rng.u());
        return std::round(x.v * 1e9) / 1e9;
      case kByteCounter:
        if (x.rate > 0) x.v += std::floor(x.rate * dt * (0.2 + 1.6 * rng.u()));
        return x.v;
      case kByteGauge:
        if (rng.u() < 0.5) x.v += 4096 * (double(rng.next() % 4001) - 2000);
        if (x.v < 4096) x.v = 4096;
        return x.v;
      case kDecGauge:
        if (rng.u() < 0.4) x.v += (double(rng.next() % 5) - 2) / 2;
        return x.v;
      case kFullGauge:
        return rng.u() * x.rate;
    }
    return 0;
  }
};

int main(int argc, char** argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: pushgen URL targets start end step [churn_hours] [threads]\n");
    return 2;
  }
  std::string url = argv[1];
  int target_count = atoi(argv[2]);
  int64_t start = atoll(argv[3]), end = atoll(argv[4]), step = atoll(argv[5]);
  double churn = argc > 6 ? atof(argv[6]) : 0;
  int threads = argc > 7 ? atoi(argv[7]) : 2;
  curl_global_init(CURL_GLOBAL_ALL);
  std::atomic<uint64_t> samples{0}, sent{0}, errors{0};
  std::barrier together(threads);
  auto t0 = std::chrono::steady_clock::now();
  auto work = [&](int w) {
    std::vector<Target> ts;
    for (int i = w; i < target_count; i += threads) {
      Target t;
      t.id = i;
      t.rng = {mix(i + 1)};
      t.offset = int64_t(mix(i) % (step * 1000));
      ts.push_back(std::move(t));
    }
    CURL* c = curl_easy_init();
    curl_slist* h = nullptr;
    for (const char* x : {"Content-Type: application/x-protobuf", "Content-Encoding: snappy",
                          "X-Prometheus-Remote-Write-Version: 0.1.0", "Expect:"})
      h = curl_slist_append(h, x);
    curl_easy_setopt(c, CURLOPT_URL, url.c_str());
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, h);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(
        c, CURLOPT_WRITEFUNCTION, +[](char*, size_t a, size_t b, void*) { return a * b; });
    std::string body, comp, ser, smp;
    for (int64_t t = start; t < end; t += step) {
      // Some servers refuse what is an hour older than the newest: no thread runs far ahead.
      if ((t - start) / step % std::max<int64_t>(900 / step, 1) == 0) together.arrive_and_wait();
      for (auto& g : ts) {
        int gen = churn > 0 ? int((t - start) / 3600.0 / churn) : 0;
        if (gen != g.gen) g.build(gen);
        int64_t ts_ms = t * 1000 + g.offset;
        if (g.rng.u() < 0.02) ts_ms += g.rng.next() % 5;
        body.clear();
        for (auto& x : g.s) {
          double v = g.step(x, double(step));
          smp.clear();
          smp.push_back(0x09);
          smp.append(reinterpret_cast<char*>(&v), 8);
          smp.push_back(0x10);
          varint(smp, uint64_t(ts_ms));
          body.push_back(0x0a);
          varint(body, x.labels.size() + 2 + smp.size());
          body += x.labels;
          body.push_back(0x12);
          body.push_back(char(smp.size()));
          body += smp;
        }
        snappy::Compress(body.data(), body.size(), &comp);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, long(comp.size()));
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, comp.data());
        CURLcode rc = curl_easy_perform(c);
        long code = 0;
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
        if (rc != CURLE_OK || code / 100 != 2) {
          if (errors++ < 3) fprintf(stderr, "push: curl %d http %ld\n", rc, code);
        }
        samples += g.s.size();
        sent += comp.size();
      }
    }
    curl_easy_cleanup(c);
  };
  std::vector<std::thread> th;
  for (int i = 0; i < threads; i++) th.emplace_back(work, i);
  for (auto& t : th) t.join();
  double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
  printf("samples %lu seconds %.1f rate %.0f/s sent_bytes %lu errors %lu\n", samples.load(), s,
         samples / s, sent.load(), errors.load());
  return errors ? 1 : 0;
}
