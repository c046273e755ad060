#include "runs/client.h"

#include <cstdio>
#include <random>
#include <utility>

#include "answered_call.h"
#include "many_stream.h"
#include "run_stream.h"
#include "runs/run_picture.h"
#include "runs/v1/blobs.grpc.pb.h"
#include "set_stream.h"

namespace runs {
namespace {

constexpr int kHeartbeatSeconds = 10;

using Blobs = v1::BlobsService;
using Runs = v1::RunsService;

// 128 bits of chance in hexadecimal digits.
std::string random_key() {
  std::random_device chance;
  std::string key;
  for (int word = 0; word < 4; ++word) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", chance());
    key += digits;
  }
  return key;
}

// The last state of a run, with the results of all updates.
v1::RunStatus folded(RunWatch watch) {
  RunPicture picture;
  while (auto update = watch.next()) {
    picture.add(*std::move(update));
  }
  return picture.run();
}

}  // namespace

v1::SubmitRunRequest submission(const std::string& flow_id, const std::vector<std::string>& inputs) {
  v1::SubmitRunRequest request;
  request.set_flow_id(flow_id);
  for (const auto& input : inputs) {
    request.add_inputs()->set_json(input);
  }
  return request;
}

v1::GetRunRequest following(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  request.set_wait(true);
  request.set_include_results(true);
  request.mutable_heartbeat_interval()->set_seconds(kHeartbeatSeconds);
  return request;
}

Client::Client(Options options) : connection_(std::make_shared<Connection>(std::move(options))) {}

void Client::close() { connection_->close(); }

std::string Client::put_flow(const std::string& flow) {
  v1::PutBlobRequest request;
  request.set_json(flow);
  request.set_type(v1::BLOB_TYPE_FLOW);
  return answer<Blobs>(*connection_, &Blobs::StubInterface::PutBlob, request).blob_id();
}

v1::RunStatus Client::submit(v1::SubmitRunRequest request) {
  if (request.idempotency_key().empty()) {
    request.set_idempotency_key(random_key());
  }
  return answer<Runs>(*connection_, &Runs::StubInterface::SubmitRun, request).run();
}

v1::RunStatus Client::get(const std::string& run_id) {
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  request.set_include_results(true);
  return folded(watch(request));
}

v1::RunStatus Client::wait(const std::string& run_id) { return folded(watch(following(run_id))); }

RunWatch Client::watch(v1::GetRunRequest request) {
  const auto& options = connection_->options();
  Outage outage = request.wait() ? Outage(options.retry_for) : Outage(options.retry_for, Clock::now() + options.timeout);
  return RunWatch(std::make_unique<RunWatch::Stream>(connection_, outage, std::move(request)));
}

ManyWatch Client::watch_many(std::vector<v1::GetRunRequest> requests) {
  const Outage outage(connection_->options().retry_for);
  return ManyWatch(std::make_unique<ManyWatch::Stream>(connection_, outage, std::move(requests)));
}

RunResults Client::results(const std::string& run_id, v1::ResultOrder order) {
  auto request = following(run_id);
  request.set_result_order(order);
  return RunResults(watch(std::move(request)));
}

SetWatch Client::watch_set(v1::WatchSet set) {
  const Outage outage(connection_->options().retry_for);
  return SetWatch(std::make_unique<SetWatch::Stream>(connection_, outage, std::move(set)));
}

v1::RunStatus Client::cancel(const std::string& run_id, const std::string& reason) {
  v1::CancelRunRequest request;
  request.set_run_id(run_id);
  request.set_reason(reason);
  return answer<Runs>(*connection_, &Runs::StubInterface::CancelRun, request).run();
}

void Client::delete_run(const std::string& run_id, bool cancel) {
  v1::DeleteRunRequest request;
  request.set_run_id(run_id);
  request.set_cancel(cancel);
  int calls = 0;
  try {
    answer<Runs>(*connection_, &Runs::StubInterface::DeleteRun, request, &calls);
  } catch (const Error& error) {
    if (calls == 1 || error.code() != grpc::StatusCode::NOT_FOUND) {
      throw;
    }
    // An earlier call, whose answer was lost, has deleted it.
  }
}

v1::ListRunsResponse Client::list(const v1::ListRunsRequest& request) {
  return answer<Runs>(*connection_, &Runs::StubInterface::ListRuns, request);
}

}  // namespace runs
