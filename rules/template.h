// SPDX-License-Identifier: Apache-2.0
//
// Templates in the labels and annotations of alerts: text with `{{ }}` actions, the part of Go's
// text/template that alert texts use. An action is a pipeline of values and functions:
//
//   {{ $labels.instance }}  {{ $value | humanize }}  {{ printf "%.2f" $value }}
//
// Values: $labels.NAME, $externalLabels.NAME, $externalURL, $value, the same as .Labels.NAME,
// .ExternalLabels.NAME, .ExternalURL, .Value, quoted texts and numbers. Control structures and
// queries inside templates are not supported and expand to an error text.
#pragma once

#include <string>
#include <string_view>

#include "model/labels.h"

namespace varve {

// The longest text an expansion gives.
inline constexpr size_t kTemplateBytesMax = 1 << 20;

// References live as long as the expansion.
struct AlertTemplateData {
  const Labels& labels;
  const Labels& external_labels;
  std::string_view external_url;
  double value = 0;
};

// The expansion, or `<error expanding template: REASON>`.
std::string ExpandTemplate(std::string_view text, const AlertTemplateData& data);

}  // namespace varve
