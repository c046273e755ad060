// How each of many runs has ended.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "runs/client.h"

// The last state of a run with all its results, or the error for which it could not be followed.
using End = std::variant<runs::RunPicture, runs::Error>;

struct ManyEnds {
  std::map<std::string, End> runs;
  // Whether the connection was lost meanwhile.
  bool reconnected = false;
};

// Follows many runs until none of them is followed any more.
ManyEnds many_ends(runs::ManyWatch watch);
