#include "lines.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace lines {
namespace {

std::string name_of(runs::v1::RunState state) {
  auto name = runs::v1::RunState_Name(state).substr(std::string("RUN_STATE_").size());
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return text(name);
}

std::string error(const runs::v1::ItemError& error) {
  Members members{{"code", std::to_string(error.code())}, {"message", text(error.message())}};
  if (error.has_data()) {
    members.emplace_back("data", error.data().json());
  }
  return object(members);
}

std::string result(const runs::v1::ItemResult& result) {
  Members members{{"itemIndex", std::to_string(result.item_index())}, {"status", name_of(result.status())}};
  if (result.has_value()) {
    members.emplace_back("value", result.value().json());
  } else if (result.has_error()) {
    members.emplace_back("error", error(result.error()));
  }
  return object(members);
}

}  // namespace

std::string object(const Members& members) {
  std::string whole;
  for (const auto& [name, value] : members) {
    whole += (whole.empty() ? "" : ",") + text(name) + ":" + value;
  }
  return "{" + whole + "}";
}

std::string array(const std::vector<std::string>& texts) {
  std::string whole;
  for (const auto& each : texts) {
    whole += (whole.empty() ? "" : ",") + each;
  }
  return "[" + whole + "]";
}

std::string text(const std::string& value) { return nlohmann::json(value).dump(); }

std::string text(bool value) { return value ? "true" : "false"; }

Members state(const runs::v1::RunStatus& run) {
  const auto& items = run.items();
  Members members{{"status", name_of(run.status())},
                  {"total", std::to_string(items.total())},
                  {"success", std::to_string(items.success())},
                  {"failed", std::to_string(items.failed())},
                  {"cancelled", std::to_string(items.cancelled())}};
  if (run.has_cancel_reason()) {
    members.emplace_back("cancelReason", text(run.cancel_reason()));
  }
  return members;
}

std::string results(const Results& results) {
  std::vector<std::string> texts(results.size());
  std::transform(results.begin(), results.end(), texts.begin(), result);
  return array(texts);
}

std::string summary(const Results& results) {
  bool in_order = true;
  std::size_t bytes = 0;
  std::size_t place = 0;
  for (const auto& each : results) {
    in_order = in_order && each.item_index() == place++;
    bytes += each.value().json().size();
  }
  return object({{"count", std::to_string(place)}, {"inOrder", text(in_order)}, {"bytes", std::to_string(bytes)}});
}

std::string folded(const runs::v1::RunStatus& run) {
  return object({{"status", name_of(run.status())}, {"results", results(run.results())}});
}

std::string failure(const runs::Error& error) {
  std::vector<std::string> violations;
  for (const auto& each : error.violations()) {
    violations.push_back(object({{"field", text(each.field)}, {"description", text(each.description)}}));
  }
  return object({{"error", object({{"code", text(error.code_name())},
                                   {"reason", text(error.reason())},
                                   {"violations", array(violations)}})}});
}

}  // namespace lines
