// SPDX-License-Identifier: Apache-2.0
//
// Exemplars, and those of a series.
#pragma once

#include <string>
#include <vector>

#include "model/labels.h"
#include "model/time.h"

namespace varve {

struct Exemplar {
  Labels labels;
  double value = 0;
  TimestampMs time = 0;
  bool has_time = false;
};

struct SeriesExemplars {
  Labels series;
  std::vector<Exemplar> exemplars;
};

}  // namespace varve
