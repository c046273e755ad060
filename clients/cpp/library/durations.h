// Times as messages have them, and as C++ has them.
#pragma once

#include <chrono>
#include <cstdint>

#include <google/protobuf/duration.pb.h>

namespace runs {

inline std::chrono::nanoseconds time_of(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

inline google::protobuf::Duration duration_of(std::chrono::nanoseconds time) {
  google::protobuf::Duration duration;
  duration.set_seconds(time / std::chrono::seconds(1));
  duration.set_nanos(static_cast<std::int32_t>((time % std::chrono::seconds(1)).count()));
  return duration;
}

}  // namespace runs
