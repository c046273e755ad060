#include "followed_run.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "durations.h"

namespace runs {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kLeastPatience = 1s;
constexpr int kMissedHeartbeats = 3;
// What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks.
constexpr std::chrono::nanoseconds kEarly = 50ms;

}  // namespace

FollowedRun::FollowedRun(v1::GetRunRequest request) : request_(std::move(request)) {
  request_.set_max_response_message_bytes(std::numeric_limits<std::int32_t>::max());
  if (request_.has_timeout()) {
    until_ = Clock::now() + time_of(request_.timeout());
  }
}

const v1::GetRunRequest& FollowedRun::next_request(bool again) {
  first_ = true;
  cut_ |= again;
  if (until_) {
    *request_.mutable_timeout() = duration_of(std::max(0ns, std::chrono::nanoseconds(*until_ - Clock::now())));
  }
  return request_;
}

std::optional<std::chrono::nanoseconds> FollowedRun::patience() const {
  if (!request_.has_heartbeat_interval()) {
    return {};
  }
  return std::max(kLeastPatience, kMissedHeartbeats * time_of(request_.heartbeat_interval()));
}

std::optional<RunUpdate> FollowedRun::received(v1::GetRunResponse message) {
  news_ = !first_ || message.revision() != revision_ || message.run().results_size() > 0;
  first_ = false;
  request_.set_resume_token(message.resume_token());
  revision_ = message.revision();
  ended_ = has_ended(message.run());
  if (message.heartbeat()) {
    return {};
  }
  return RunUpdate{std::move(*message.mutable_run()), message.revision(), message.resume_token(), message.restarted(),
                   std::exchange(cut_, false)};
}

bool FollowedRun::is_complete(const Error* error) const {
  if (error != nullptr) {
    return ended_ && !request_.include_results();
  }
  // Any other end in order is that of a proxy, which has shortened the deadline of the call.
  return revision_ && (ended_ || !request_.wait() || (until_ && Clock::now() >= *until_ - kEarly));
}

}  // namespace runs
