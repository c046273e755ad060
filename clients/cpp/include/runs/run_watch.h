// A run that is followed to its end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_set>

#include "runs/v1/runs.pb.h"

namespace runs {

// A state of a run.
struct RunUpdate {
  // The whole state, with the results that no earlier update has had.
  v1::RunStatus run;
  // Grows with each change.
  std::uint64_t revision = 0;
  // Names the point after this update: another watch may go on there.
  std::string resume_token;
  // The results begin anew: those of earlier updates count no more.
  bool restarted = false;
  // The connection was lost before this update, and was made again.
  bool reconnected = false;
};

// Whether a run has ended.
bool has_ended(const v1::RunStatus& run);

// The states of a run, until it has ended or the timeout of the request has passed.
class RunWatch {
 public:
  class Stream;

  explicit RunWatch(std::unique_ptr<Stream> stream);
  RunWatch(RunWatch&&) noexcept;
  RunWatch& operator=(RunWatch&&) noexcept;
  ~RunWatch();

  // Waits for the next update. Nothing: that was the last one. Throws Error if the gateway refuses the call or cannot be
  // reached.
  std::optional<RunUpdate> next();

 private:
  std::unique_ptr<Stream> stream_;
};

// The results of a run, each once, also if the gateway has to begin anew.
class RunResults {
 public:
  explicit RunResults(RunWatch watch) : watch_(std::move(watch)) {}

  // Waits for the next result, as RunWatch does for an update.
  std::optional<v1::ItemResult> next();

 private:
  RunWatch watch_;
  std::queue<v1::ItemResult> waiting_;
  std::unordered_set<std::uint64_t> seen_;
};

}  // namespace runs
