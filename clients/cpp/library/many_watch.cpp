#include "runs/many_watch.h"

#include <algorithm>
#include <utility>

#include "durations.h"
#include "many_stream.h"

namespace runs {
namespace {

// Many runs have many heartbeats: so much of the interval is for each.
constexpr std::chrono::milliseconds kHeartbeatShare{100};

// What messages call a run. Of a text that is too long for an id, they have so many characters.
constexpr int kNameLength = 255;

std::string name_of(const std::string& run_id) {
  int characters = 0;
  const auto end = std::find_if(run_id.begin(), run_id.end(), [&](unsigned char byte) {
    const bool begins_character = (byte & 0xC0) != 0x80;
    return begins_character && ++characters > kNameLength;
  });
  return {run_id.begin(), end};
}

v1::GetRunRequest with_rare_heartbeats(v1::GetRunRequest request, std::size_t runs) {
  if (request.has_heartbeat_interval()) {
    auto& interval = *request.mutable_heartbeat_interval();
    interval = duration_of(std::max<std::chrono::nanoseconds>(time_of(interval), runs * kHeartbeatShare));
  }
  return request;
}

}  // namespace

ManyWatch::Stream::Stream(std::shared_ptr<Connection> connection, const Outage& outage,
                          std::vector<v1::GetRunRequest> requests)
    : ResumingStream(std::move(connection), outage) {
  bool all_have_heartbeats = true;
  for (auto& request : requests) {
    FollowedRun run(with_rare_heartbeats(std::move(request), requests.size()));
    all_have_heartbeats = all_have_heartbeats && run.patience();
    // Those with more frequent heartbeats may end before the others.
    patience_ = std::max(patience_, run.patience());
    auto name = name_of(run.run_id());
    runs_.insert_or_assign(std::move(name), Member{std::move(run), outage});
  }
  if (!all_have_heartbeats) {
    patience_.reset();
  }
  if (runs_.empty()) {
    finish();
  }
}

auto ManyWatch::Stream::start(const Connection& connection) -> std::unique_ptr<Messages> {
  const bool again = reconnected();
  std::vector<v1::WatchRunsRequest> requests;
  for (auto& [name, member] : runs_) {
    *requests.emplace_back().mutable_add() = member.run.next_request(again);
  }
  return start_watch(connection, requests, patience_);
}

std::optional<RunEvent> ManyWatch::Stream::received(v1::WatchRunsResponse message) {
  const auto member = runs_.find(message.run_id());
  if (member == runs_.end()) {
    return {};
  }
  switch (message.event_case()) {
    case v1::WatchRunsResponse::kUpdate:
      return updated(member->second, std::move(*message.mutable_update()));
    case v1::WatchRunsResponse::kEnded:
      return ended(member, {});
    case v1::WatchRunsResponse::kError:
      return ended(member, watch_error(message.error()));
    default:
      return {};
  }
}

std::optional<RunEvent> ManyWatch::Stream::updated(Member& member, v1::GetRunResponse message) {
  auto& [run, outage] = member;
  auto update = run.received(std::move(message));
  heard(run.has_news());
  outage.heard(run.has_news());
  if (!update) {
    return {};
  }
  return RunEvent{run.run_id(), *std::move(update)};
}

RunEvent ManyWatch::Stream::ended(Members::iterator member, const std::optional<Error>& error) {
  auto& [run, outage] = member->second;
  RunEvent last{run.run_id(), RunEnded{}};
  if (!run.is_complete(error ? &*error : nullptr)) {
    const auto reason = error.value_or(Error("the gateway has stopped following a run too early"));
    if (outage.pause(reason)) {
      heard(false);
      throw reason;  // The stream begins anew, after its own pause.
    }
    last.event = reason;
  }
  heard(true);
  runs_.erase(member);
  return last;
}

ManyWatch::ManyWatch(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
ManyWatch::ManyWatch(ManyWatch&&) noexcept = default;
ManyWatch& ManyWatch::operator=(ManyWatch&&) noexcept = default;
ManyWatch::~ManyWatch() = default;

std::optional<RunEvent> ManyWatch::next() { return stream_->next(); }

}  // namespace runs
