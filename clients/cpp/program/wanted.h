// What a step and its place give: inputs, labels, how a run is followed, a filter, how far a set is followed, and where the gateway
// is.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runs/client.h"

namespace wanted {

// The texts of inputs: they are given as such, or many alike by their number and length.
std::vector<std::string> inputs(const nlohmann::json& step);

void set_labels(const nlohmann::json& step, google::protobuf::Map<std::string, std::string>& labels);

runs::v1::ResultOrder order(const nlohmann::json& step);

// The request to follow a run.
runs::v1::GetRunRequest following(const nlohmann::json& step, const std::string& run_id);

runs::v1::RunFilter filter(const nlohmann::json& step);

// Whether a set has come to where a step follows it to.
bool is_complete(const runs::RunSet& picture, const std::string& until);

runs::Options options(const nlohmann::json& place);

}  // namespace wanted
