// Plays the scenario of all clients, or follows a run, many, or a set for the conformance kit.
#include <algorithm>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "lines.h"
#include "many_ends.h"
#include "runs/client.h"
#include "steps.h"

namespace {

constexpr int kFailed = 1;
constexpr int kNoSuchMode = 64;

nlohmann::json read(const std::string& file) { return nlohmann::json::parse(std::ifstream(file)); }

void play(const nlohmann::json& scenario, const nlohmann::json& places) {
  Steps steps(places);
  for (const auto& step : scenario) {
    std::cout << steps.play(step) << std::endl;
  }
}

runs::Client client_of(const std::string& address) {
  runs::Options options;
  options.address = address;
  return runs::Client(options);
}

std::string refused(const runs::Error& error) { return lines::object({{"error", lines::text(error.code_name())}}); }

std::string follow(const std::string& address, const std::string& run_id) {
  try {
    return lines::folded(client_of(address).wait(run_id));
  } catch (const runs::Error& error) {
    return refused(error);
  }
}

std::string follow_many(const std::string& address, const std::vector<std::string>& run_ids) {
  std::vector<runs::v1::GetRunRequest> requests;
  std::transform(run_ids.begin(), run_ids.end(), std::back_inserter(requests), runs::following);
  lines::Members members;
  const auto ends = many_ends(client_of(address).watch_many(requests));
  for (const auto& [run_id, end] : ends.runs) {
    const auto* error = std::get_if<runs::Error>(&end);
    members.emplace_back(run_id, error ? refused(*error) : lines::folded(std::get<runs::RunPicture>(end).run()));
  }
  return lines::object(members);
}

// The states of all runs, when one of them has ended.
std::string follow_set(const std::string& address, const std::string& run_id) {
  auto client = client_of(address);
  auto events = client.watch_set({});
  runs::RunSet picture;
  const auto& known = picture.runs();
  for (auto run = known.end(); !picture.caught_up() || run == known.end() || !runs::has_ended(run->second);) {
    picture.add(events.next());
    run = known.find(run_id);
  }
  lines::Members members;
  for (const auto& [id, run] : known) {
    members.emplace_back(id, lines::state(run).front().second);
  }
  return lines::object(members);
}

}  // namespace

int main(int count, char** arguments) try {
  const std::string mode = count > 1 ? arguments[1] : "";
  if (mode == "play" && count == 4) {
    play(read(arguments[2]), read(arguments[3]));
  } else if (mode == "follow" && count == 4) {
    std::cout << follow(arguments[2], arguments[3]) << std::endl;
  } else if (mode == "watch" && count >= 3) {
    std::cout << follow_many(arguments[2], {arguments + 3, arguments + count}) << std::endl;
  } else if (mode == "set" && count == 4) {
    std::cout << follow_set(arguments[2], arguments[3]) << std::endl;
  } else {
    std::cerr << "usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID... | set ADDRESS RUN_ID\n";
    return kNoSuchMode;
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return kFailed;
}
