#include "runs/error.h"

#include <array>

#include "status_details.pb.h"

namespace runs {
namespace {

constexpr std::array kNames = {
    "OK",           "CANCELLED",        "UNKNOWN",       "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",   "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",        "UNAVAILABLE",   "DATA_LOSS",          "UNAUTHENTICATED"};

// Whether gRPC says so about a connection that is lost. Errors of the gateway have a reason.
bool says_lost(grpc::StatusCode code) {
  return code == grpc::StatusCode::ABORTED || code == grpc::StatusCode::CANCELLED ||
         code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::UNKNOWN;
}

}  // namespace

Error::Error(const std::string& outage) : std::runtime_error(outage), code_(grpc::StatusCode::UNAVAILABLE) {}

Error Error::closed() {
  Error error("the client is closed");
  error.code_ = grpc::StatusCode::CANCELLED;
  return error;
}

Error::Error(grpc::StatusCode code, const std::string& message, const std::string& details)
    : std::runtime_error(message), code_(code) {
  read(details);
  if (reason_.empty() && says_lost(code)) {
    code_ = grpc::StatusCode::UNAVAILABLE;
  }
}

std::string Error::code_name() const {
  const auto number = static_cast<std::size_t>(code_);
  return number < kNames.size() ? kNames[number] : "UNKNOWN";
}

void Error::read(const std::string& serialized) {
  details::Status status;
  status.ParseFromString(serialized);  // Details of another server are none: the code is enough.
  for (const auto& detail : status.details()) {
    const auto name = detail.type_url().substr(detail.type_url().rfind('/') + 1);
    if (name == "google.rpc.ErrorInfo") {
      details::ErrorInfo info;
      info.ParseFromString(detail.value());
      reason_ = info.reason();
    } else if (name == "google.rpc.BadRequest") {
      details::BadRequest request;
      request.ParseFromString(detail.value());
      for (const auto& each : request.field_violations()) {
        violations_.push_back({each.field(), each.description()});
      }
    } else if (name == "google.rpc.RetryInfo") {
      details::RetryInfo info;
      info.ParseFromString(detail.value());
      retry_after_ = std::chrono::seconds(info.retry_delay().seconds()) +
                     std::chrono::nanoseconds(info.retry_delay().nanos());
    }
  }
}

}  // namespace runs
