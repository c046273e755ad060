// What the program prints: JSON whose members have one order, with payloads as the texts that they are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runs/error.h"
#include "runs/v1/runs.pb.h"

namespace lines {

// Members of an object: their names, and their values as JSON text.
using Members = std::vector<std::pair<std::string, std::string>>;
using Results = google::protobuf::RepeatedPtrField<runs::v1::ItemResult>;

std::string object(const Members& members);
std::string array(const std::vector<std::string>& texts);
std::string text(const std::string& value);
std::string text(bool value);

// How far a run is.
Members state(const runs::v1::RunStatus& run);

std::string results(const Results& results);

// What can be told of many results in short: whether each came once, in order, and how long they are.
std::string summary(const Results& results);

// The end of a run with its results.
std::string folded(const runs::v1::RunStatus& run);

std::string failure(const runs::Error& error);

}  // namespace lines
