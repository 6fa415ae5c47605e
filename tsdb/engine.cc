// SPDX-License-Identifier: Apache-2.0
//
// Opening an engine.
#include "tsdb/engine.h"

#include <filesystem>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/open_store.h"

namespace varve {

namespace {

// Times that a directory is opened again to get rid of damaged tables.
constexpr int kHealingRoundsMax = 8;

}  // namespace

Engine::Engine(const DbOptions& db_options, Clock& clock,
               std::shared_ptr<AtomicCounters> atomic_counters, std::unique_ptr<Store> opened_store)
    : options(db_options),
      counters(std::move(atomic_counters)),
      store(std::move(opened_store)),
      exemplars(options.exemplars_max),
      head(HeadOptions{.bucket_size = options.bucket_size,
                       .series_max = options.series_max,
                       .memory = options.memory}),
      write_path(options, clock, *store, head, exemplars, metadata, *counters),
      folder(options, clock, *store, head, write_path, *counters) {}

absl::StatusOr<std::shared_ptr<Engine>> Engine::Open(const DbOptions& options, Clock& clock) {
  const auto counters = std::make_shared<AtomicCounters>();
  const std::string path =
      (std::filesystem::path(options.path) / std::string(kDataSubdirectory)).native();
  const StoreOptions store_options{.path = path,
                                   .block_cache_bytes = options.block_cache_bytes,
                                   .write_buffer_bytes = options.write_buffer_bytes,
                                   .write_buffers_bytes_max = options.write_buffers_bytes_max,
                                   .env = options.env};
  bool losses = false;
  for (int round = 0;; ++round) {
    ASSIGN_OR_RETURN(OpenedStore opened,
                     OpenReadableStore(store_options, options.remove_table, clock.Now()));
    for (const std::string& loss : opened.losses) counters->damage.Note("database", loss);
    losses |= !opened.losses.empty();
    auto engine = std::make_shared<Engine>(options, clock, counters, std::move(opened.store));
    RETURN_IF_ERROR(engine->write_path.Recover(losses));
    const std::set<uint64_t> damaged = engine->write_path.damaged_tables();
    if (damaged.empty() || options.remove_table.empty() || round == kHealingRoundsMax) {
      return engine;
    }
    // What can be read of these tables has been; they would stop every compaction.
    RETURN_IF_ERROR(engine->write_path.RewriteDamaged());
    engine.reset();
    bool removed = false;
    for (const uint64_t table : damaged) {
      removed |= RemoveTable(options.remove_table, path, table).ok();
    }
    if (!removed) round = kHealingRoundsMax - 1;
    losses = true;
  }
}

}  // namespace varve
