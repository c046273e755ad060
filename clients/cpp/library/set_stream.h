// The calls of WatchRuns by which a set is followed.
#pragma once

#include "resuming_stream.h"
#include "runs/set_watch.h"
#include "watch_call.h"

namespace runs {

class SetWatch::Stream final : public ResumingStream<WatchReader, v1::WatchRunsResponse, SetEvent> {
 public:
  Stream(std::shared_ptr<Connection> connection, Outage outage, v1::WatchSet set);

 protected:
  std::unique_ptr<Messages> start(const Connection& connection) override;
  // Nothing is sent while nothing happens. A peer that has vanished does not answer the pings of the connection.
  std::optional<std::chrono::nanoseconds> patience() const override { return {}; }
  std::optional<SetEvent> received(v1::WatchRunsResponse message) override;
  bool is_complete(const Error*) const override { return false; }

 private:
  std::optional<SetEvent> updated(v1::WatchRunsResponse message);
  SetEvent told(SetEvent::Kind kind, const std::string& token, bool restarted);

  v1::WatchSet set_;
  google::protobuf::RepeatedPtrField<v1::ItemResult> results_;
  bool restarted_ = false;
};

}  // namespace runs
