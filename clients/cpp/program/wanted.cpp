#include "wanted.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace wanted {
namespace {

constexpr double kNanoseconds = 1e9;

runs::v1::RunState state_of(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return std::toupper(letter); });
  runs::v1::RunState state = runs::v1::RUN_STATE_UNSPECIFIED;
  runs::v1::RunState_Parse("RUN_STATE_" + name, &state);
  return state;
}

void set_seconds(double seconds, google::protobuf::Duration& duration) {
  duration.set_seconds(static_cast<std::int64_t>(seconds));
  duration.set_nanos(static_cast<std::int32_t>(std::lround((seconds - std::floor(seconds)) * kNanoseconds)));
}

}  // namespace

std::vector<std::string> inputs(const nlohmann::json& step) {
  std::vector<std::string> texts;
  for (const auto& each : step.at("inputs")) {
    if (each.is_string()) {
      texts.push_back(each);
      continue;
    }
    const std::string pad(each.at("pad").get<std::size_t>(), 'x');
    for (int index = 0; index < each.at("count"); ++index) {
      texts.push_back("[" + std::to_string(index) + ",\"" + pad + "\"]");
    }
  }
  return texts;
}

void set_labels(const nlohmann::json& step, google::protobuf::Map<std::string, std::string>& labels) {
  if (step.contains("labels")) {
    for (const auto& [name, value] : step.at("labels").items()) {
      labels[name] = value;
    }
  }
}

runs::v1::ResultOrder order(const nlohmann::json& step) {
  return step.value("order", "byIndex") == "byIndex" ? runs::v1::RESULT_ORDER_BY_INDEX
                                                     : runs::v1::RESULT_ORDER_BY_COMPLETION;
}

runs::v1::GetRunRequest following(const nlohmann::json& step, const std::string& run_id) {
  auto request = runs::following(run_id);
  request.set_result_order(order(step));
  if (step.contains("heartbeat")) {
    set_seconds(step.at("heartbeat"), *request.mutable_heartbeat_interval());
  }
  return request;
}

runs::v1::RunFilter filter(const nlohmann::json& step) {
  runs::v1::RunFilter filter;
  set_labels(step, *filter.mutable_labels());
  if (step.contains("states")) {
    for (const auto& state : step.at("states")) {
      filter.add_states(state_of(state));
    }
  }
  return filter;
}

bool is_complete(const runs::RunSet& picture, const std::string& until) {
  const auto& runs = picture.runs();
  if (!picture.caught_up() || until == "caughtUp") {
    return picture.caught_up();
  }
  if (until == "empty") {
    return runs.empty();
  }
  return !runs.empty() &&
         std::all_of(runs.begin(), runs.end(), [](const auto& each) { return runs::has_ended(each.second); });
}

runs::Options options(const nlohmann::json& place) {
  runs::Options options;
  options.address = place.at("address");
  options.ca = place.value("ca", "");
  options.cert = place.value("cert", "");
  options.key = place.value("key", "");
  options.token = place.value("token", "");
  if (place.contains("giveUpAfter")) {
    options.retry_for = std::chrono::nanoseconds(std::llround(place.at("giveUpAfter").get<double>() * kNanoseconds));
  }
  return options;
}

}  // namespace wanted
