// Where a gateway is, and how a client shows itself to it.
#pragma once

#include <chrono>
#include <string>

namespace runs {

struct Options {
  // `HOST:PORT`.
  std::string address;

  // Whether the connection is secured. It is, too, if `ca` or `cert` is given.
  bool tls = false;

  // A file in PEM with the authorities that are trusted, in place of those of the system.
  std::string ca = {};

  // A certificate of the client's own, for a gateway that wants one: a file with it, and with those between it and an authority,
  // and a file with its key, both in PEM. They belong together, and to TLS.
  std::string cert = {};
  std::string key = {};

  // A bearer token. It is sent over TLS, or within this machine, unless `insecure` says otherwise.
  std::string token = {};
  bool insecure = false;

  // The namespace that all calls concern. Empty: that of the token.
  std::string name_space = {};

  // How long a call may take that follows nothing, retries included.
  std::chrono::nanoseconds timeout = std::chrono::minutes(1);

  // For how long calls are made again while the gateway cannot be reached. 0: calls are not made again.
  std::chrono::nanoseconds retry_for = std::chrono::minutes(1);
};

}  // namespace runs
