// The calls of WatchRuns, by which many runs and sets are followed.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "connection.h"
#include "message_stream.h"
#include "runs/error.h"
#include "runs/v1/runs.grpc.pb.h"

namespace runs {

using WatchReader = grpc::ClientAsyncReaderWriter<v1::WatchRunsRequest, v1::WatchRunsResponse>;

// Starts a call with all its requests, each of which may take so long, if there is a limit.
std::unique_ptr<MessageStream<WatchReader>> start_watch(const Connection& connection,
                                                        const std::vector<v1::WatchRunsRequest>& requests,
                                                        std::optional<std::chrono::nanoseconds> patience);

// Why a run or a set cannot be followed.
Error watch_error(const v1::WatchError& error);

}  // namespace runs
