// A stream of events that is started again after a cut, and goes on where it was.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "connection.h"
#include "message_stream.h"
#include "outage.h"
#include "runs/error.h"

namespace runs {

template <class Reader, class Message, class Event>
class ResumingStream {
 public:
  using Messages = MessageStream<Reader>;

  ResumingStream(std::shared_ptr<Connection> connection, Outage outage)
      : connection_(std::move(connection)), outage_(outage) {}

  virtual ~ResumingStream() = default;

  // Waits for the next event. Nothing: the stream is complete. Throws Error if another stream would not help, or not in time.
  std::optional<Event> next() {
    while (!complete_) {
      std::optional<Error> error;
      try {
        if (!messages_) {
          started_ = Clock::now();
          heard_ = false;
          messages_ = start(*connection_);
        }
        Message message;
        if (messages_->next(message, patience())) {
          if (auto event = received(std::move(message))) {
            return event;
          }
          continue;
        }
      } catch (const Error& reason) {
        error = reason;
      }
      ended(error ? &*error : nullptr);
    }
    return {};
  }

 protected:
  // Starts a call that goes on after what has been received.
  virtual std::unique_ptr<Messages> start(const Connection& connection) = 0;

  // How long a message may take, if there is a limit.
  virtual std::optional<std::chrono::nanoseconds> patience() const = 0;

  // The event in a message, if there is anything new in it.
  virtual std::optional<Event> received(Message message) = 0;

  // Whether a stream that ends now, with this error or with OK (null), is complete.
  virtual bool is_complete(const Error* error) const = 0;

  // Nothing is to come.
  void finish() { complete_ = true; }

  // Takes note of an answer, with or without news.
  void heard(bool progress) {
    heard_ = true;
    outage_.heard(progress);
  }

  // Whether the stream was cut since this was asked before.
  bool reconnected() { return std::exchange(cut_, false); }

 private:
  // A stream that has lasted so long was not in vain, even if it has told nothing new.
  static constexpr std::chrono::seconds kStable{1};

  void ended(const Error* error) {
    if (messages_ && messages_->silent()) {
      connection_->replace(messages_->channel());
    }
    messages_.reset();
    complete_ = true;
    if (is_complete(error)) {
      return;
    }
    cut_ = true;
    if (heard_ && Clock::now() - started_ >= kStable) {
      outage_.heard();
    }
    connection_->pause(outage_, error != nullptr ? *error : Error("the gateway has ended the stream too early"));
    complete_ = false;
  }

  std::shared_ptr<Connection> connection_;
  Outage outage_;
  std::unique_ptr<Messages> messages_;
  Clock::time_point started_;
  bool heard_ = false;
  bool cut_ = false;
  bool complete_ = false;
};

}  // namespace runs
