// The calls of GetRun by which a run is followed.
#pragma once

#include "followed_run.h"
#include "resuming_stream.h"
#include "runs/run_watch.h"
#include "runs/v1/runs.grpc.pb.h"

namespace runs {

class RunWatch::Stream final
    : public ResumingStream<grpc::ClientAsyncReader<v1::GetRunResponse>, v1::GetRunResponse, RunUpdate> {
 public:
  Stream(std::shared_ptr<Connection> connection, Outage outage, v1::GetRunRequest request)
      : ResumingStream(std::move(connection), outage), run_(std::move(request)) {}

 protected:
  std::unique_ptr<Messages> start(const Connection& connection) override;
  std::optional<std::chrono::nanoseconds> patience() const override { return run_.patience(); }
  std::optional<RunUpdate> received(v1::GetRunResponse message) override;
  bool is_complete(const Error* error) const override { return run_.is_complete(error); }

 private:
  FollowedRun run_;
};

}  // namespace runs
