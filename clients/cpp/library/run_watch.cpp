#include "runs/run_watch.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "run_stream.h"

namespace runs {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kLeastPatience = 1s;
constexpr int kMissedHeartbeats = 3;
// What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks.
constexpr std::chrono::nanoseconds kEarly = 50ms;

std::chrono::nanoseconds time_of(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

google::protobuf::Duration duration_of(std::chrono::nanoseconds time) {
  google::protobuf::Duration duration;
  duration.set_seconds(time / 1s);
  duration.set_nanos(static_cast<std::int32_t>((time % 1s).count()));
  return duration;
}

}  // namespace

bool has_ended(const v1::RunStatus& run) {
  return run.status() == v1::RUN_STATE_SUCCESS || run.status() == v1::RUN_STATE_FAILED ||
         run.status() == v1::RUN_STATE_CANCELLED;
}

RunWatch::Stream::Stream(std::shared_ptr<Connection> connection, Outage outage, v1::GetRunRequest request)
    : ResumingStream(std::move(connection), outage), request_(std::move(request)) {
  request_.set_max_response_message_bytes(std::numeric_limits<std::int32_t>::max());
  if (request_.has_timeout()) {
    until_ = Clock::now() + time_of(request_.timeout());
  }
}

auto RunWatch::Stream::start(const Connection& connection) -> std::unique_ptr<Messages> {
  first_ = true;
  if (until_) {
    *request_.mutable_timeout() = duration_of(std::max(0ns, std::chrono::nanoseconds(*until_ - Clock::now())));
  }
  auto channel = connection.channel();
  const auto stub = v1::RunsService::NewStub(channel);
  return std::make_unique<Messages>(connection, channel, [&](auto* context, auto* queue) {
    return stub->PrepareAsyncGetRun(context, request_, queue);
  });
}

std::optional<std::chrono::nanoseconds> RunWatch::Stream::patience() const {
  if (!request_.has_heartbeat_interval()) {
    return {};
  }
  return std::max(kLeastPatience, kMissedHeartbeats * time_of(request_.heartbeat_interval()));
}

std::optional<RunUpdate> RunWatch::Stream::received(v1::GetRunResponse message) {
  // The first message of each stream repeats what is known.
  heard(!first_ || message.revision() != revision_ || message.run().results_size() > 0);
  first_ = false;
  request_.set_resume_token(message.resume_token());
  revision_ = message.revision();
  ended_ = has_ended(message.run());
  if (message.heartbeat()) {
    return {};
  }
  return RunUpdate{std::move(*message.mutable_run()), message.revision(), message.resume_token(),
                   message.restarted(), reconnected()};
}

bool RunWatch::Stream::is_complete(const Error* error) const {
  if (error != nullptr) {
    return ended_ && !request_.include_results();
  }
  // Any other end in order is that of a proxy, which has shortened the deadline of the call.
  return revision_ && (ended_ || !request_.wait() || (until_ && Clock::now() >= *until_ - kEarly));
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
