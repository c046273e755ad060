#include "many_ends.h"

#include <utility>

ManyEnds many_ends(runs::ManyWatch watch) {
  ManyEnds ends;
  while (auto event = watch.next()) {
    auto& end = ends.runs[event->run_id];
    if (auto* update = std::get_if<runs::RunUpdate>(&event->event)) {
      ends.reconnected |= update->reconnected;
      std::get<runs::RunPicture>(end).add(std::move(*update));
    } else if (const auto* error = std::get_if<runs::Error>(&event->event)) {
      end = *error;
    }
  }
  return ends;
}
