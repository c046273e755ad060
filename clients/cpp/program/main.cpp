// Plays the scenario of all clients, or follows one run.
#include <fstream>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "lines.h"
#include "runs/client.h"
#include "steps.h"

namespace {

nlohmann::json read(const std::string& file) { return nlohmann::json::parse(std::ifstream(file)); }

void play(const nlohmann::json& scenario, const nlohmann::json& places) {
  Steps steps(places);
  for (const auto& step : scenario) {
    std::cout << steps.play(step) << std::endl;
  }
}

std::string follow(const std::string& address, const std::string& run_id) {
  try {
    runs::Options options;
    options.address = address;
    return lines::folded(runs::Client(options).wait(run_id));
  } catch (const runs::Error& error) {
    return lines::failure(error);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string mode = count > 1 ? arguments[1] : "";
  if (mode == "play" && count == 4) {
    play(read(arguments[2]), read(arguments[3]));
  } else if (mode == "follow" && count == 4) {
    std::cout << follow(arguments[2], arguments[3]) << std::endl;
  } else {
    std::cerr << "usage: play SCENARIO PLACES | follow ADDRESS RUN_ID\n";
    return 64;
  }
  return 0;
}
