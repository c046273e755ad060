// The calls of WatchRuns by which many runs are followed.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "followed_run.h"
#include "resuming_stream.h"
#include "runs/many_watch.h"
#include "watch_call.h"

namespace runs {

class ManyWatch::Stream final : public ResumingStream<WatchReader, v1::WatchRunsResponse, RunEvent> {
 public:
  Stream(std::shared_ptr<Connection> connection, const Outage& outage, std::vector<v1::GetRunRequest> requests);

 protected:
  std::unique_ptr<Messages> start(const Connection& connection) override;
  std::optional<std::chrono::nanoseconds> patience() const override { return patience_; }
  std::optional<RunEvent> received(v1::WatchRunsResponse message) override;
  bool is_complete(const Error*) const override { return runs_.empty(); }

 private:
  // A run may fail again and again, and be given up, while others are well.
  struct Member {
    FollowedRun run;
    Outage outage;
  };
  using Members = std::unordered_map<std::string, Member>;

  std::optional<RunEvent> updated(Member& member, v1::GetRunResponse message);
  // The gateway follows the run no more, with this error or because it has ended. Throws Error if it has to be asked again.
  RunEvent ended(Members::iterator member, const std::optional<Error>& error);

  // By what messages call them.
  Members runs_;
  std::optional<std::chrono::nanoseconds> patience_;
};

}  // namespace runs
