// A client of a gateway.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runs/error.h"
#include "runs/many_watch.h"
#include "runs/options.h"
#include "runs/run_picture.h"
#include "runs/run_watch.h"
#include "runs/set_watch.h"
#include "runs/v1/runs.pb.h"

namespace runs {

class Connection;

// A submission with an item for each input, which is JSON text. Options can be added, for example an idempotency key.
v1::SubmitRunRequest submission(const std::string& flow_id, const std::vector<std::string>& inputs);

// A request to follow a run to its end, with its results by index. Options can be added.
v1::GetRunRequest following(const std::string& run_id);

// Threads may share it. A call that finds the gateway unreachable, or overloaded, is made again with growing pauses; it takes
// effect once. All methods throw Error.
class Client {
 public:
  // Connects when the first call is made. Throws std::invalid_argument if the address can be none, a token has anything but
  // visible ASCII in it, or would be sent where others can read it, or a certificate comes without its key; and
  // std::runtime_error if a file cannot be read, or is of no use.
  explicit Client(Options options);

  // Ends all calls of all threads, those that follow as well, with an Error whose code is CANCELLED. Later ones fail, too.
  void close();

  // Stores a flow, which is JSON text, and returns its id.
  std::string put_flow(const std::string& flow);

  // Submits a run. Without an idempotency key it gets one, so that the call can be made again.
  v1::RunStatus submit(v1::SubmitRunRequest request);

  // The present state of a run, with the results that exist.
  v1::RunStatus get(const std::string& run_id);

  // The state of a run when it has ended, with all its results, by index.
  v1::RunStatus wait(const std::string& run_id);

  // Follows a run.
  RunWatch watch(v1::GetRunRequest request);

  // Follows many runs on one stream. Of a run that is asked for twice, the last request counts. With very many runs, heartbeats
  // are less frequent than requests say.
  ManyWatch watch_many(std::vector<v1::GetRunRequest> requests);

  // The results of a run as they come, each once.
  RunResults results(const std::string& run_id, v1::ResultOrder order);

  // Follows a set of runs. Its name may be empty.
  SetWatch watch_set(v1::WatchSet set);

  // Cancels a run, and returns its state. The reason may be empty.
  v1::RunStatus cancel(const std::string& run_id, const std::string& reason);

  // Deletes a run that has ended, with its inputs and results. With `cancel`, one that has not is cancelled before.
  void delete_run(const std::string& run_id, bool cancel = false);

  // A page of the runs that match a filter.
  v1::ListRunsResponse list(const v1::ListRunsRequest& request);

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace runs
