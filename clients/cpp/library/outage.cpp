#include "outage.h"

#include <algorithm>
#include <random>

namespace runs {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kFirstPause = 100ms;
constexpr std::chrono::nanoseconds kLongestPause = 5s;

// From half of a pause to all of it: clients that lost their connections at once do not come back at once.
std::chrono::nanoseconds shortened(std::chrono::nanoseconds pause) {
  thread_local std::minstd_rand chance(std::random_device{}());
  return std::chrono::nanoseconds(std::uniform_int_distribution(pause.count() / 2, pause.count())(chance));
}

}  // namespace

Outage::Outage(std::chrono::nanoseconds retry_for, std::optional<Clock::time_point> until)
    : retry_for_(retry_for), until_(until), pause_(kFirstPause) {}

void Outage::heard(bool progress) {
  since_.reset();
  if (progress) {
    pause_ = kFirstPause;
  }
}

std::optional<std::chrono::nanoseconds> Outage::pause(const Error& error) {
  if (!error.transient()) {
    return {};
  }
  const auto next = shortened(pause_) + error.retry_after().value_or(0ns);
  pause_ = std::min(2 * pause_, kLongestPause);
  const auto now = Clock::now();
  if (error.go_away()) {
    since_.reset();
  } else if (!since_) {
    since_ = now;
  }
  if ((since_ && now + next > *since_ + retry_for_) || (until_ && now + next >= *until_)) {
    return {};
  }
  return next;
}

}  // namespace runs
