// The channel to a gateway. One that is dead, but does not say so, is replaced.
#pragma once

#include <memory>
#include <mutex>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include "runs/options.h"

namespace runs {

class Connection {
 public:
  // Throws what Client does.
  explicit Connection(Options options);

  const Options& options() const { return options_; }

  std::shared_ptr<grpc::Channel> channel() const;

  // A stream on this channel has been silent for too long: later calls get another one.
  void replace(const std::shared_ptr<grpc::Channel>& dead);

  // Adds to a call what shows who calls.
  void identify(grpc::ClientContext& context) const;

 private:
  std::shared_ptr<grpc::Channel> open() const;

  const Options options_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  mutable std::mutex mutex_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace runs
