#include "runs/run_picture.h"

#include <utility>

namespace runs {

void RunPicture::add(RunUpdate update) {
  google::protobuf::RepeatedPtrField<v1::ItemResult> results;
  if (!update.restarted) {
    results.Swap(run_.mutable_results());
  }
  for (auto& result : *update.run.mutable_results()) {
    *results.Add() = std::move(result);
  }
  run_ = std::move(update.run);
  run_.mutable_results()->Swap(&results);
}

}  // namespace runs
