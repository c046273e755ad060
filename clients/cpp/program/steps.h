// Plays steps, each with the client of its place, and remembers what they are called by later ones.
#pragma once

#include <map>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "lines.h"
#include "runs/client.h"

class Steps {
 public:
  explicit Steps(nlohmann::json places) : places_(std::move(places)) {}

  // Plays a step, and returns its line.
  std::string play(const nlohmann::json& step);

 private:
  using Step = nlohmann::json;

  runs::Client& client(const std::string& place);
  lines::Members done(runs::Client& client, const Step& step);
  lines::Members put(runs::Client& client, const Step& step);
  lines::Members submit(runs::Client& client, const Step& step);
  lines::Members watch(runs::Client& client, const Step& step);
  lines::Members watch_many(runs::Client& client, const Step& step);
  lines::Members results(runs::Client& client, const Step& step);
  lines::Members set(runs::Client& client, const Step& step);
  lines::Members remove(runs::Client& client, const Step& step);
  lines::Members list(runs::Client& client, const Step& step);

  // Keeps the id of what a step has made, if later ones call it by a name.
  void remember(const Step& step, const std::string& id);

  // The id that a step gives, or that of what an earlier one has called so.
  std::string id(const Step& step, const std::string& kind) const;

  nlohmann::json places_;
  std::map<std::string, runs::Client> clients_;
  std::map<std::string, std::string> named_;
};
