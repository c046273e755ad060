// The picture of a run that its updates make.
#pragma once

#include "runs/run_watch.h"
#include "runs/v1/runs.pb.h"

namespace runs {

class RunPicture {
 public:
  // Adds the next update.
  void add(RunUpdate update);

  // The latest state, with the results of all updates.
  const v1::RunStatus& run() const { return run_; }

 private:
  v1::RunStatus run_;
};

}  // namespace runs
