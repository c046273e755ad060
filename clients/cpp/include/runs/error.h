// What a call fails with.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <grpcpp/support/status.h>

namespace runs {

// A field of a request that breaks its rule.
struct Violation {
  std::string field;
  std::string description;
};

// The gateway has refused a call, or cannot be reached.
class Error : public std::runtime_error {
 public:
  // An outage that has no status of its own: a stream that ends too early, or is silent.
  explicit Error(const std::string& outage);

  // What calls end with when their client is closed.
  static Error closed();

  // The error that a call has ended with. `details` is a serialized `google.rpc.Status`.
  Error(grpc::StatusCode code, const std::string& message, const std::string& details);

  explicit Error(const grpc::Status& status) : Error(status.error_code(), status.error_message(), status.error_details()) {}

  grpc::StatusCode code() const { return code_; }

  // The name of the code, as `NOT_FOUND`.
  std::string code_name() const;

  // The reason for programs, as `IDEMPOTENCY_KEY_REUSED`; the name of the code if the gateway gave none.
  std::string reason() const { return reason_.empty() ? code_name() : reason_; }

  // The fields that break their rules.
  const std::vector<Violation>& violations() const { return violations_; }

  // How long to wait before another call, if the gateway says so.
  std::optional<std::chrono::nanoseconds> retry_after() const { return retry_after_; }

  // Whether the same call may succeed later. Without a deadline of its own that has passed, which ends all retries, a call has
  // met that of a proxy.
  bool transient() const {
    return code_ == grpc::StatusCode::UNAVAILABLE || code_ == grpc::StatusCode::DEADLINE_EXCEEDED || retry_after_;
  }

  // Whether the gateway asks for another connection, and is well.
  bool go_away() const { return reason_ == "GO_AWAY"; }

 private:
  void read(const std::string& details);

  grpc::StatusCode code_;
  std::string reason_;
  std::vector<Violation> violations_;
  std::optional<std::chrono::nanoseconds> retry_after_;
};

}  // namespace runs
