// SPDX-License-Identifier: Apache-2.0
//
// Everything behind an open data directory, in the order in which each part stands on the ones
// before. A Db has one; queriers and the series sets they leave behind share it.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <memory>

#include "model/clock.h"
#include "tsdb/db.h"
#include "tsdb/exemplar_store.h"
#include "tsdb/fold.h"
#include "tsdb/head.h"
#include "tsdb/metadata_store.h"
#include "tsdb/store.h"
#include "tsdb/write_path.h"

namespace varve {

struct Engine {
  // Opens the directory and recovers what was committed, leaving out what is damaged. `clock` and
  // the options' memory outlive the engine.
  static absl::StatusOr<std::shared_ptr<Engine>> Open(const DbOptions& options, Clock& clock);

  Engine(const DbOptions& options, Clock& clock, std::shared_ptr<AtomicCounters> counters,
         std::unique_ptr<Store> store);

  const DbOptions options;
  const std::shared_ptr<AtomicCounters> counters;
  const std::unique_ptr<Store> store;
  ExemplarStore exemplars;
  MetadataStore metadata;
  Head head;
  WritePath write_path;
  Folder folder;
};

}  // namespace varve
