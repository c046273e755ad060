// How far a run has been followed: what to ask for next, and what a message means.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "outage.h"
#include "runs/error.h"
#include "runs/run_watch.h"
#include "runs/v1/runs.pb.h"

namespace runs {

class FollowedRun {
 public:
  explicit FollowedRun(v1::GetRunRequest request);

  const std::string& run_id() const { return request_.run_id(); }

  // The request for what has not been received. `again`: the connection was lost since the last one.
  const v1::GetRunRequest& next_request(bool again);

  // How long the gateway may send nothing, if there is a limit.
  std::optional<std::chrono::nanoseconds> patience() const;

  // The update in a message; nothing in a heartbeat.
  std::optional<RunUpdate> received(v1::GetRunResponse message);

  // Whether the last message has told anything new. The first one after each request repeats what is known.
  bool has_news() const { return news_; }

  // Whether all has been received if the gateway ends now, with this error or with OK (null).
  bool is_complete(const Error* error) const;

 private:
  v1::GetRunRequest request_;
  std::optional<Clock::time_point> until_;
  std::optional<std::uint64_t> revision_;
  bool ended_ = false;
  bool first_ = true;
  bool news_ = false;
  bool cut_ = false;
};

}  // namespace runs
