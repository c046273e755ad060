#include "connection.h"

#include <algorithm>
#include <regex>
#include <stdexcept>
#include <utility>

#include <grpcpp/create_channel.h>

#include "credentials.h"

namespace runs {
namespace {

constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kPingTimeoutMs = 60'000;
constexpr int kFirstReconnectMs = 100;
constexpr int kLastReconnectMs = 1'000;

bool is_local(const std::string& address) {
  static const std::regex local(R"((localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?|unix:.*)");
  return std::regex_match(address, local);
}

// Whether a text may be an address. Later, one that cannot be would seem to be a gateway that is away.
bool is_address(const std::string& text) {
  // What gRPC does not take for a name with a scheme, as dns:///HOST:PORT.
  static const std::regex host_and_port(R"(([^:/\[\]]*|\[[^/\[\]]*\]):([^:/]*))");
  static const std::regex port("[0-9]{1,5}");
  if (text.empty() || text.find_first_of(" \t\r\n") != std::string::npos || text.rfind("http://", 0) == 0 ||
      text.rfind("https://", 0) == 0) {
    return false;
  }
  std::smatch parts;
  if (!std::regex_match(text, parts, host_and_port) || parts[1] == "unix") {
    return true;
  }
  if (!std::regex_match(parts[2].str(), port)) {
    return false;
  }
  const int number = std::stoi(parts[2]);
  return number > 0 && number <= 65'535;
}

// A token is a word of visible ASCII: gRPC ends the process, and shows the token, if there is anything else in it.
bool is_word(const std::string& token) {
  return std::all_of(token.begin(), token.end(), [](char character) { return character >= '!' && character <= '~'; });
}

}  // namespace

Connection::Connection(Options options) : options_(std::move(options)) {
  if (!is_address(options_.address)) {
    throw std::invalid_argument("\"" + options_.address + "\" is no address: it is HOST:PORT");
  }
  if (!is_word(options_.token)) {
    throw std::invalid_argument("a token is one word of visible ASCII characters");
  }
  if (!options_.token.empty() && !secured(options_) && !options_.insecure && !is_local(options_.address)) {
    throw std::invalid_argument("a token is sent over TLS only, or within this machine");
  }
  if (options_.cert.empty() != options_.key.empty()) {
    throw std::invalid_argument("a certificate and its key come together");
  }
  credentials_ = credentials(options_);
  channel_ = open();
}

std::shared_ptr<grpc::Channel> Connection::channel() const {
  const std::lock_guard lock(mutex_);
  return channel_;
}

void Connection::replace(const std::shared_ptr<grpc::Channel>& dead) {
  const std::lock_guard lock(mutex_);
  if (channel_ == dead) {
    channel_ = open();
  }
}

Connection::Call::Call(const Connection& connection, grpc::ClientContext& context)
    : connection_(connection), context_(context) {
  const auto& options = connection.options_;
  if (!options.token.empty()) {
    context.AddMetadata("authorization", "Bearer " + options.token);
  }
  if (!options.name_space.empty()) {
    context.AddMetadata("runs-namespace", options.name_space);
  }
  const std::lock_guard lock(connection.mutex_);
  if (connection.closed_) {
    throw Error::closed();
  }
  connection.calls_.insert(&context);
}

Connection::Call::~Call() {
  const std::lock_guard lock(connection_.mutex_);
  connection_.calls_.erase(&context_);
}

void Connection::pause(Outage& outage, const Error& error) const {
  std::unique_lock lock(mutex_);
  if (!closed_) {
    const auto pause = outage.pause(error);
    if (!pause) {
      throw error;
    }
    closing_.wait_for(lock, *pause, [this] { return closed_; });
  }
  if (closed_) {
    throw Error::closed();
  }
}

void Connection::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (auto* call : calls_) {
    call->TryCancel();
  }
  closing_.notify_all();
}

std::shared_ptr<grpc::Channel> Connection::open() const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // Pings find out that a connection has died while a set has nothing to tell. By default there are two of them only.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // For newer releases of gRPC. On a slow link, the answer to a ping stands behind what was sent before.
  arguments.SetInt("grpc.http2.ping_timeout_ms", kPingTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Retries are those of this library: it knows which calls may be repeated.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kLastReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLastReconnectMs);
  // A lost connection has the name looked up again before the next one, by default every 30 s only.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kFirstReconnectMs);
  // Channels share connections otherwise, and the next one would get the dead one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(options_.address, credentials_, arguments);
}

}  // namespace runs
