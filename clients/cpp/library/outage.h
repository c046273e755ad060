// The time for which a gateway has not answered: how long to pause before each retry, and when to give up.
#pragma once

#include <chrono>
#include <optional>

#include "runs/error.h"

namespace runs {

using Clock = std::chrono::steady_clock;

class Outage {
 public:
  // Retries end when the gateway has not answered for `retry_for`, and at `until`, if there is such a time.
  explicit Outage(std::chrono::nanoseconds retry_for, std::optional<Clock::time_point> until = {});

  // Takes note of an answer. Without progress the next pause still grows: the gateway may fail again and again.
  void heard(bool progress = true);

  // How long to pause before the next call. Nothing: another call would not help, or not in time.
  std::optional<std::chrono::nanoseconds> pause(const Error& error);

 private:
  std::chrono::nanoseconds retry_for_;
  std::optional<Clock::time_point> until_;
  std::chrono::nanoseconds pause_;
  std::optional<Clock::time_point> since_;
};

}  // namespace runs
