// SPDX-License-Identifier: Apache-2.0
//
// Goal: alert texts expand as Go's templates expand them.
#include "rules/template.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace varve {
namespace {

std::string Expanded(std::string_view text, double value = 0.25) {
  const Labels labels = Labels::Of({{"instance", "db-1.example.net:9100"}, {"job", "node"}});
  const Labels external = Labels::Of({{"cluster", "east"}});
  return ExpandTemplate(text, {.labels = labels,
                               .external_labels = external,
                               .external_url = "http://varve.example",
                               .value = value});
}

TEST_CASE("template: values") {
  CHECK(Expanded("plain } text") == "plain } text");
  CHECK(Expanded("{{ $labels.instance }} of {{.Labels.job}}") == "db-1.example.net:9100 of node");
  CHECK(Expanded("{{ $labels.missing }}|") == "|");
  CHECK(Expanded("{{ $value }} {{ .Value }}") == "0.25 0.25");
  CHECK(Expanded("{{ $value }}", 1) == "1");
  CHECK(Expanded("{{ $value }}", std::numeric_limits<double>::infinity()) == "+Inf");
  CHECK(Expanded("{{ $externalLabels.cluster }} {{ $externalURL }}") ==
        "east http://varve.example");
  CHECK(Expanded("{{/* nothing */}}x") == "x");
  CHECK(Expanded("a {{- \"b\" -}} c") == "abc");
}

TEST_CASE("template: functions") {
  CHECK(Expanded("{{ humanize $value }}", 1234567) == "1.235M");
  CHECK(Expanded("{{ $value | humanize }}", 0.0012) == "1.2m");
  CHECK(Expanded("{{ humanize1024 $value }}", 1536) == "1.5ki");
  CHECK(Expanded("{{ humanizeDuration $value }}", 3661) == "1h 1m 1s");
  CHECK(Expanded("{{ humanizeDuration $value }}", 90061) == "1d 1h 1m 1s");
  CHECK(Expanded("{{ humanizeDuration $value }}", 0.01) == "10ms");
  CHECK(Expanded("{{ humanizePercentage $value }}", 0.1234) == "12.34%");
  CHECK(Expanded("{{ humanizeTimestamp $value }}", 1435065584.128) ==
        "2015-06-23 13:19:44.128 +0000 UTC");
  CHECK(Expanded("{{ printf \"%.2f%% of %s\" $value $labels.job }}") == "0.25% of node");
  CHECK(Expanded("{{ $value | printf \"%.1f\" }}", 2.04) == "2.0");
  CHECK(Expanded("{{ $labels.job | toUpper }} {{ title \"a b\" }}") == "NODE A B");
  CHECK(Expanded("{{ stripPort $labels.instance }}") == "db-1.example.net");
  CHECK(Expanded("{{ stripDomain $labels.instance }}") == "db-1:9100");
  CHECK(Expanded("{{ reReplaceAll \"(d)b-(.).*\" \"$1$2\" $labels.instance }}") == "d1");
}

TEST_CASE("template: what does not work says so") {
  for (const char* bad : {"{{ $labels.job ", "{{ }}", "{{ unknown 1 }}", "{{ if true }}x{{ end }}",
                          "{{ printf \"%d\" }}", "{{ printf \"%999999999999d\" 1 }}", "{{ \"a }}",
                          "{{ humanize \"x\" }}", "{{ $value | $value }}"}) {
    CAPTURE(bad);
    CHECK(Expanded(bad).starts_with("<error expanding template: "));
  }
}

}  // namespace
}  // namespace varve
