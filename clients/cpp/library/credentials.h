// What a channel trusts, and shows.
#pragma once

#include <memory>

#include <grpcpp/security/credentials.h>

#include "runs/options.h"

namespace runs {

// Whether the connection is secured.
bool secured(const Options& options);

// Throws std::runtime_error if a file cannot be read, or is of no use.
std::shared_ptr<grpc::ChannelCredentials> credentials(const Options& options);

}  // namespace runs
