#include "steps.h"

#include <stdexcept>
#include <variant>
#include <vector>

#include "many_ends.h"
#include "wanted.h"

namespace {

using Step = nlohmann::json;
using runs::v1::RunStatus;

std::string name_of(const RunStatus& run) { return run.labels().at("name"); }

std::string shown(const Step& step, const lines::Results& results) {
  return step.value("summary", false) ? lines::summary(results) : lines::results(results);
}

lines::Members seen(const Step& step, const RunStatus& run) {
  auto told = lines::state(run);
  told.emplace_back("results", shown(step, run.results()));
  return told;
}

std::string member(const RunStatus& run, bool with_results) {
  lines::Members members{{"name", lines::text(name_of(run))}};
  const auto state = lines::state(run);
  members.insert(members.end(), state.begin(), state.end());
  if (with_results) {
    members.emplace_back("results", lines::results(run.results()));
  }
  return lines::object(members);
}

}  // namespace

std::string Steps::play(const Step& step) {
  std::string told;
  try {
    told = lines::object(done(client(step.at("at")), step));
  } catch (const runs::Error& error) {
    told = lines::failure(error);
  }
  return "{\"step\":" + step.at("step").dump() + "," + told.substr(1);
}

runs::Client& Steps::client(const std::string& name) {
  const auto found = clients_.find(name);
  return found != clients_.end() ? found->second : clients_.emplace(name, wanted::options(places_.at(name))).first->second;
}

lines::Members Steps::done(runs::Client& client, const Step& step) {
  const std::string kind = step.at("do");
  if (kind == "put") return put(client, step);
  if (kind == "submit") return submit(client, step);
  if (kind == "get") return lines::state(client.get(id(step, "run")));
  if (kind == "watch") return watch(client, step);
  if (kind == "watchMany") return watch_many(client, step);
  if (kind == "results") return results(client, step);
  if (kind == "set") return set(client, step);
  if (kind == "cancel") return lines::state(client.cancel(id(step, "run"), step.value("reason", "")));
  if (kind == "delete") return remove(client, step);
  if (kind == "list") return list(client, step);
  throw std::invalid_argument("no step is called " + kind);
}

lines::Members Steps::put(runs::Client& client, const Step& step) {
  const auto flow_id = client.put_flow(step.at("flow"));
  remember(step, flow_id);
  return {{"flowId", lines::text(flow_id)}};
}

lines::Members Steps::submit(runs::Client& client, const Step& step) {
  auto request = runs::submission(id(step, "flow"), wanted::inputs(step));
  request.set_idempotency_key(step.value("key", ""));
  wanted::set_labels(step, *request.mutable_labels());
  const auto run = client.submit(request);
  remember(step, run.run_id());
  lines::Members told{{"flowName", lines::text(run.flow_name())}, {"total", std::to_string(run.items().total())}};
  if (step.contains("sameAs")) {
    told.emplace_back("same", lines::text(named_.at(step.at("sameAs")) == run.run_id()));
  }
  return told;
}

lines::Members Steps::watch(runs::Client& client, const Step& step) {
  const auto request = wanted::following(step, id(step, "run"));
  runs::RunPicture picture;
  bool slow = step.value("slow", false);
  bool reconnected = false;
  auto updates = client.watch(request);
  while (auto update = updates.next()) {
    if (std::exchange(slow, false)) {
      client.wait(request.run_id());
    }
    reconnected |= update->reconnected;
    picture.add(*std::move(update));
  }
  auto told = seen(step, picture.run());
  told.emplace_back("reconnected", lines::text(reconnected));
  return told;
}

lines::Members Steps::watch_many(runs::Client& client, const Step& step) {
  std::vector<std::string> run_ids;
  for (const auto& name : step.at("runs")) {
    run_ids.push_back(named_.at(name));
  }
  const auto more = step.value("runIds", std::vector<std::string>());
  run_ids.insert(run_ids.end(), more.begin(), more.end());
  std::vector<runs::v1::GetRunRequest> requests;
  for (const auto& run_id : run_ids) {
    requests.push_back(wanted::following(step, run_id));
  }
  const auto ends = many_ends(client.watch_many(requests));
  std::vector<std::string> texts;
  for (const auto& run_id : run_ids) {
    const auto& end = ends.runs.at(run_id);
    const auto* error = std::get_if<runs::Error>(&end);
    texts.push_back(error ? lines::failure(*error) : lines::object(seen(step, std::get<runs::RunPicture>(end).run())));
  }
  return {{"runs", lines::array(texts)}, {"reconnected", lines::text(ends.reconnected)}};
}

lines::Members Steps::results(runs::Client& client, const Step& step) {
  lines::Results came;
  auto results = client.results(id(step, "run"), wanted::order(step));
  while (auto result = results.next()) {
    *came.Add() = *std::move(result);
  }
  return {{"results", shown(step, came)}};
}

lines::Members Steps::set(runs::Client& client, const Step& step) {
  const bool with_results = step.value("results", false);
  runs::v1::WatchSet wanted_set;
  *wanted_set.mutable_filter() = wanted::filter(step);
  wanted_set.set_include_results(with_results);
  runs::RunSet picture;
  bool reconnected = false;
  auto events = client.watch_set(wanted_set);
  while (!wanted::is_complete(picture, step.at("until"))) {
    const auto event = events.next();
    picture.add(event);
    reconnected |= event.reconnected;
  }
  std::map<std::string, std::string> members;
  for (const auto& [run_id, run] : picture.runs()) {
    members[name_of(run)] = member(run, with_results);
  }
  std::vector<std::string> texts;
  for (const auto& [name, text] : members) {
    texts.push_back(text);
  }
  return {{"runs", lines::array(texts)}, {"reconnected", lines::text(reconnected)}};
}

lines::Members Steps::remove(runs::Client& client, const Step& step) {
  client.delete_run(id(step, "run"), step.value("cancel", false));
  return {{"deleted", lines::text(true)}};
}

lines::Members Steps::list(runs::Client& client, const Step& step) {
  runs::v1::ListRunsRequest request;
  *request.mutable_filter() = wanted::filter(step);
  request.set_page_size(step.at("pageSize"));
  request.set_include_total(true);
  std::vector<std::string> names;
  while (true) {
    const auto page = client.list(request);
    for (const auto& run : page.runs()) {
      names.push_back(lines::text(name_of(run)));
    }
    if (page.next_page_token().empty()) {
      return {{"runs", lines::array(names)}, {"total", std::to_string(page.total_size())}};
    }
    request.set_page_token(page.next_page_token());
  }
}

void Steps::remember(const Step& step, const std::string& id) {
  if (step.contains("as")) {
    named_[step.at("as")] = id;
  }
}

std::string Steps::id(const Step& step, const std::string& kind) const {
  const auto given = step.find(kind + "Id");
  return given != step.end() ? given->get<std::string>() : named_.at(step.at(kind));
}
