// The channel to a gateway. One that is dead, but does not say so, is replaced.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include "outage.h"
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

  // A call that shows who calls, and that `close` ends. Throws Error if that was before.
  class Call {
   public:
    Call(const Connection& connection, grpc::ClientContext& context);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();

   private:
    const Connection& connection_;
    grpc::ClientContext& context_;
  };

  // Pauses before the next call. Throws the error if there is to be none, and another one, at once, if `close` is called.
  void pause(Outage& outage, const Error& error) const;

  // Ends all calls, and all pauses.
  void close();

 private:
  std::shared_ptr<grpc::Channel> open() const;

  const Options options_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  mutable std::mutex mutex_;
  std::shared_ptr<grpc::Channel> channel_;
  mutable std::condition_variable closing_;
  mutable std::set<grpc::ClientContext*> calls_;
  bool closed_ = false;
};

}  // namespace runs
