// The calls of GetRun by which a run is followed.
#pragma once

#include "resuming_stream.h"
#include "runs/run_watch.h"
#include "runs/v1/runs.grpc.pb.h"

namespace runs {

class RunWatch::Stream final
    : public ResumingStream<grpc::ClientAsyncReader<v1::GetRunResponse>, v1::GetRunResponse, RunUpdate> {
 public:
  Stream(std::shared_ptr<Connection> connection, Outage outage, v1::GetRunRequest request);

 protected:
  std::unique_ptr<Messages> start(const Connection& connection) override;
  std::optional<std::chrono::nanoseconds> patience() const override;
  std::optional<RunUpdate> received(v1::GetRunResponse message) override;
  bool is_complete(const Error* error) const override;

 private:
  v1::GetRunRequest request_;
  std::optional<Clock::time_point> until_;
  std::optional<std::uint64_t> revision_;
  bool ended_ = false;
  bool first_ = true;
};

}  // namespace runs
