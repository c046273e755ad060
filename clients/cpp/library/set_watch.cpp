#include "runs/set_watch.h"

#include <limits>
#include <utility>

#include "set_stream.h"

namespace runs {
namespace {

SetEvent::Kind kind_of(v1::SetEvent event) {
  switch (event) {
    case v1::SET_EVENT_ADDED:
      return SetEvent::Kind::added;
    case v1::SET_EVENT_LEFT:
      return SetEvent::Kind::left;
    default:
      return SetEvent::Kind::changed;
  }
}

}  // namespace

SetWatch::Stream::Stream(std::shared_ptr<Connection> connection, Outage outage, v1::WatchSet set)
    : ResumingStream(std::move(connection), outage), set_(std::move(set)) {
  set_.set_max_response_message_bytes(std::numeric_limits<std::int32_t>::max());
  if (set_.name().empty()) {
    set_.set_name("runs");
  }
}

auto SetWatch::Stream::start(const Connection& connection) -> std::unique_ptr<Messages> {
  results_.Clear();
  restarted_ = false;
  v1::WatchRunsRequest request;
  *request.mutable_add_set() = set_;
  return start_watch(connection, {request}, patience());
}

std::optional<SetEvent> SetWatch::Stream::received(v1::WatchRunsResponse message) {
  switch (message.event_case()) {
    case v1::WatchRunsResponse::kCaughtUp:
      return told(SetEvent::Kind::caught_up, message.caught_up().resume_token(), message.caught_up().restarted());
    case v1::WatchRunsResponse::kUpdate:
      return updated(std::move(message));
    case v1::WatchRunsResponse::kError:
      throw watch_error(message.error());
    default:
      throw Error("the gateway has stopped following the set too early");
  }
}

std::optional<SetEvent> SetWatch::Stream::updated(v1::WatchRunsResponse message) {
  auto& update = *message.mutable_update();
  if (update.heartbeat()) {
    heard(false);
    return {};
  }
  const bool exists = update.has_run();
  if (exists) {
    for (auto& result : *update.mutable_run()->mutable_results()) {
      *results_.Add() = std::move(result);
    }
  }
  if (update.resume_token().empty()) {
    // More results of this run are to come.
    restarted_ |= update.restarted();
    heard(true);
    return {};
  }
  auto event = told(kind_of(message.set_event()), update.resume_token(), update.restarted());
  event.run_id = message.run_id();
  if (exists) {
    event.run = std::move(*update.mutable_run());
    event.run->mutable_results()->Swap(&results_);
  }
  results_.Clear();
  return event;
}

SetEvent SetWatch::Stream::told(SetEvent::Kind kind, const std::string& token, bool restarted) {
  heard(token != set_.resume_token());
  set_.set_resume_token(token);
  set_.set_only_new(false);
  SetEvent event;
  event.kind = kind;
  event.resume_token = token;
  event.restarted = std::exchange(restarted_, false) || restarted;
  event.reconnected = reconnected();
  return event;
}

SetWatch::SetWatch(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
SetWatch::SetWatch(SetWatch&&) noexcept = default;
SetWatch& SetWatch::operator=(SetWatch&&) noexcept = default;
SetWatch::~SetWatch() = default;

SetEvent SetWatch::next() {
  if (auto event = stream_->next()) {
    return *std::move(event);
  }
  throw Error("this watch has ended with an error");
}

void RunSet::add(const SetEvent& event) {
  if (event.restarted) {
    runs_.clear();
  }
  if (event.restarted || event.reconnected) {
    caught_up_ = false;
  }
  if (event.kind == SetEvent::Kind::caught_up) {
    caught_up_ = true;
  } else if (event.kind == SetEvent::Kind::left || !event.run) {
    runs_.erase(event.run_id);
  } else {
    runs_[event.run_id] = *event.run;
  }
}

}  // namespace runs
