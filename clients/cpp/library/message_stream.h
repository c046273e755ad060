// The messages of one call. A message is asked for when it is wanted: a slow reader holds one at most.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>

#include "connection.h"
#include "outage.h"
#include "runs/error.h"

namespace runs {

// `Reader` is a stream of grpc for completion queues. One operation is under way at a time, so it needs no tags.
template <class Reader>
class MessageStream {
 public:
  // `prepare` makes the stream from a context and a queue.
  template <class Prepare>
  MessageStream(const Connection& connection, std::shared_ptr<grpc::Channel> channel, Prepare prepare)
      : channel_(std::move(channel)), call_(connection, context_) {
    reader_ = prepare(&context_, &queue_);
    reader_->StartCall(this);
    started_ = done();
  }

  MessageStream(const MessageStream&) = delete;
  MessageStream& operator=(const MessageStream&) = delete;

  ~MessageStream() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Whether a message was overdue: the connection is dead, though it does not say so.
  bool silent() const { return silent_; }

  // Sends all that the client has to say. If the call has ended, or takes longer than `patience` for a request, if there is any,
  // the next read tells.
  template <class Requests>
  void send(const Requests& requests, std::optional<std::chrono::nanoseconds> patience) {
    for (const auto& request : requests) {
      if (started_) {
        reader_->Write(request, this);
        started_ = done(patience);
      }
    }
    if (started_) {
      reader_->WritesDone(this);
      started_ = done(patience);
    }
  }

  // Reads the next message; false: the call has ended with OK. Throws Error if it has failed, or if the message takes longer
  // than `patience`, if there is any.
  template <class Response>
  bool next(Response& message, std::optional<std::chrono::nanoseconds> patience) {
    if (started_) {
      reader_->Read(&message, this);
      if (done(patience)) {
        return true;
      }
    }
    if (silent_) {
      throw Error("nothing has come for too long");
    }
    grpc::Status status;
    reader_->Finish(&status, this);
    done();
    if (!status.ok()) {
      throw Error(status);
    }
    return false;
  }

 private:
  // Waits for the end of the operation. Whether it has succeeded.
  bool done(std::optional<std::chrono::nanoseconds> patience = {}) {
    void* tag = nullptr;
    bool ok = false;
    if (patience) {
      const auto deadline = std::chrono::system_clock::now() + *patience;
      if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::TIMEOUT) {
        return ok;
      }
      silent_ = true;
      context_.TryCancel();
    }
    return queue_.Next(&tag, &ok) && ok && !silent_;
  }

  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  Connection::Call call_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<Reader> reader_;
  bool started_ = false;
  bool silent_ = false;
};

}  // namespace runs
