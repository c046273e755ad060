#include "runs/run_watch.h"

#include <utility>

#include "run_stream.h"

namespace runs {

bool has_ended(const v1::RunStatus& run) {
  return run.status() == v1::RUN_STATE_SUCCESS || run.status() == v1::RUN_STATE_FAILED ||
         run.status() == v1::RUN_STATE_CANCELLED;
}

auto RunWatch::Stream::start(const Connection& connection) -> std::unique_ptr<Messages> {
  auto channel = connection.channel();
  const auto stub = v1::RunsService::NewStub(channel);
  return std::make_unique<Messages>(connection, channel, [&](auto* context, auto* queue) {
    return stub->PrepareAsyncGetRun(context, run_.next_request(reconnected()), queue);
  });
}

std::optional<RunUpdate> RunWatch::Stream::received(v1::GetRunResponse message) {
  auto update = run_.received(std::move(message));
  heard(run_.has_news());
  return update;
}

RunWatch::RunWatch(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
RunWatch::RunWatch(RunWatch&&) noexcept = default;
RunWatch& RunWatch::operator=(RunWatch&&) noexcept = default;
RunWatch::~RunWatch() = default;

std::optional<RunUpdate> RunWatch::next() { return stream_->next(); }

std::optional<v1::ItemResult> RunResults::next() {
  while (waiting_.empty()) {
    auto update = watch_.next();
    if (!update) {
      return {};
    }
    for (auto& result : *update->run.mutable_results()) {
      if (seen_.insert(result.item_index()).second) {
        waiting_.push(std::move(result));
      }
    }
  }
  auto result = std::move(waiting_.front());
  waiting_.pop();
  return result;
}

}  // namespace runs
