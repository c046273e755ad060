// A set of runs that is followed: all that match a filter, those as well that are submitted later.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "runs/v1/runs.pb.h"

namespace runs {

// Something about a set of runs.
struct SetEvent {
  // What has happened: the run has come into the set, has changed there, or has left it; or everything has been told that
  // had happened when the set was asked for.
  enum class Kind { added, changed, left, caught_up };

  Kind kind = Kind::changed;
  // The run; empty if the set is caught up.
  std::string run_id;
  // Its whole state; nothing if the set is caught up, or the run has been deleted. Results are there, if they were asked
  // for, when the run has ended.
  std::optional<v1::RunStatus> run;
  // Names the point after this event: another watch of the same filter may go on there.
  std::string resume_token;
  // The set begins anew: earlier events count no more.
  bool restarted = false;
  // The connection was lost before this event, and was made again.
  bool reconnected = false;
};

// The events of a set. It has no end: whoever has seen enough destroys it.
class SetWatch {
 public:
  class Stream;

  explicit SetWatch(std::unique_ptr<Stream> stream);
  SetWatch(SetWatch&&) noexcept;
  SetWatch& operator=(SetWatch&&) noexcept;
  ~SetWatch();

  // Waits for the next event. Throws Error if the gateway refuses the call or cannot be reached.
  SetEvent next();

 private:
  std::unique_ptr<Stream> stream_;
};

// The picture of a set that its events make.
class RunSet {
 public:
  // Adds the next event.
  void add(const SetEvent& event);

  // The latest state of each run that has not left, by their ids.
  const std::map<std::string, v1::RunStatus>& runs() const { return runs_; }

  // Whether the picture is complete, but for what is on its way.
  bool caught_up() const { return caught_up_; }

 private:
  std::map<std::string, v1::RunStatus> runs_;
  bool caught_up_ = false;
};

}  // namespace runs
