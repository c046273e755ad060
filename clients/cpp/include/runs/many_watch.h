// Many runs that are followed on one stream.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "runs/error.h"
#include "runs/run_watch.h"

namespace runs {

// A run is followed no more: it has ended, or the timeout of its request has passed.
struct RunEnded {};

// Something about one of the runs.
struct RunEvent {
  // The run, as its request names it.
  std::string run_id;
  // The last event of each run is its end, or the error for which it cannot be followed.
  std::variant<RunUpdate, RunEnded, Error> event;
};

// The states of many runs, until none of them is followed any more.
class ManyWatch {
 public:
  class Stream;

  explicit ManyWatch(std::unique_ptr<Stream> stream);
  ManyWatch(ManyWatch&&) noexcept;
  ManyWatch& operator=(ManyWatch&&) noexcept;
  ~ManyWatch();

  // Waits for the next event. Nothing: that was the last one. Throws Error if the gateway refuses the call or cannot be reached;
  // what concerns one run is an event.
  std::optional<RunEvent> next();

 private:
  std::unique_ptr<Stream> stream_;
};

}  // namespace runs
