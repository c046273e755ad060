#include "watch_call.h"

namespace runs {

std::unique_ptr<MessageStream<WatchReader>> start_watch(const Connection& connection,
                                                        const std::vector<v1::WatchRunsRequest>& requests,
                                                        std::optional<std::chrono::nanoseconds> patience) {
  auto channel = connection.channel();
  const auto stub = v1::RunsService::NewStub(channel);
  auto messages = std::make_unique<MessageStream<WatchReader>>(
      connection, channel, [&](auto* context, auto* queue) { return stub->PrepareAsyncWatchRuns(context, queue); });
  messages->send(requests, patience);
  return messages;
}

Error watch_error(const v1::WatchError& error) {
  return Error(static_cast<grpc::StatusCode>(error.code()), error.message(), error.status_details());
}

}  // namespace runs
