//! What the program prints: JSON whose members have one order, with payloads as the texts that they are.

use runs_gateway::v1::item_result::Outcome;
use runs_gateway::v1::json_value::Encoding;
use runs_gateway::v1::{ItemError, ItemResult, JsonValue, RunState, RunStatus};
use runs_gateway::Error;
use serde_json::Value;

/// A member of an object: its name, and its value as JSON text.
pub type Member = (&'static str, String);

/// Returns an object.
pub fn members<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let texts: Vec<String> = members.into_iter().map(|(name, value)| format!("{}:{}", text(name), value)).collect();
    format!("{{{}}}", texts.join(","))
}

/// Returns a value as compact JSON.
pub fn text(value: impl Into<Value>) -> String {
    value.into().to_string()
}

/// Returns an array of JSON texts.
pub fn array(texts: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", texts.into_iter().collect::<Vec<_>>().join(","))
}

/// Returns the word for a state.
pub fn word(state: RunState) -> String {
    text(state.as_str_name().trim_start_matches("RUN_STATE_").to_lowercase())
}

/// Returns the members that tell how far a run is.
pub fn state(run: &RunStatus) -> Vec<Member> {
    let items = run.items.clone().unwrap_or_default();
    let mut told = vec![("status", word(run.status()))];
    let counts = [items.total, items.success, items.failed, items.cancelled];
    told.extend(["total", "success", "failed", "cancelled"].into_iter().zip(counts.map(text)));
    told.extend(run.cancel_reason.as_deref().map(|reason| ("cancelReason", text(reason))));
    told
}

/// Returns an array of results.
pub fn results(given: &[ItemResult]) -> String {
    array(given.iter().map(result))
}

/// Returns what can be told of many results in short: whether each came once and in order, and how long they are.
pub fn summary(given: &[ItemResult]) -> String {
    let in_order = given.iter().zip(0..).all(|(result, place)| result.item_index == place);
    let size: usize = given.iter().filter_map(|result| Some(value(result)?.len())).sum();
    members([("count", text(given.len())), ("inOrder", text(in_order)), ("bytes", text(size))])
}

/// Returns the end of a run with its results.
pub fn folded(run: &RunStatus) -> String {
    members([("status", word(run.status())), ("results", results(&run.results))])
}

/// Returns why a run cannot be followed.
pub fn refused(error: &Error) -> String {
    members([("error", text(error.code.name()))])
}

/// Returns an object with an error.
pub fn failure(error: &Error) -> String {
    let violations = error
        .violations
        .iter()
        .map(|each| members([("field", text(each.field.as_str())), ("description", text(each.description.as_str()))]));
    let code = ("code", text(error.code.name()));
    let shown = members([code, ("reason", text(error.reason.as_str())), ("violations", array(violations))]);
    members([("error", shown)])
}

fn result(result: &ItemResult) -> String {
    let mut told = vec![("itemIndex", text(result.item_index)), ("status", word(result.status()))];
    told.extend(value(result).map(|value| ("value", value.to_string())));
    if let Some(Outcome::Error(error)) = &result.outcome {
        told.push(("error", item_error(error)));
    }
    members(told)
}

fn item_error(error: &ItemError) -> String {
    let mut told = vec![("code", text(error.code)), ("message", text(error.message.as_str()))];
    told.extend(error.data.as_ref().and_then(exact).map(|data| ("data", data.to_string())));
    members(told)
}

fn value(result: &ItemResult) -> Option<&str> {
    match &result.outcome {
        Some(Outcome::Value(value)) => exact(value),
        _ => None,
    }
}

fn exact(value: &JsonValue) -> Option<&str> {
    match &value.encoding {
        Some(Encoding::Json(text)) => Some(text),
        _ => None,
    }
}
