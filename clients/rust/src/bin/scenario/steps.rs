//! The steps of the scenario, by the calls of the client.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::time::Duration;

use runs_gateway::v1::{ItemResult, ListRunsRequest, ResultOrder, RunFilter, RunState, RunStatus, SubmitRunRequest};
use runs_gateway::{has_ended, json, Client, Identity, ManyWatch, RunPicture, RunSet, Security, SetWatch, Watch};
use serde_json::Value;

use crate::outcomes::Outcomes;
use crate::printing::{array, failure, members, results, state, summary, text, Member};

type Told = Result<Vec<Member>, Box<dyn Error>>;

/// Plays steps, each with the client of its place, and remembers what they are called by later ones.
pub struct Steps {
    places: Value,
    clients: HashMap<String, Client>,
    named: HashMap<String, String>,
}

impl Steps {
    pub fn new(places: Value) -> Steps {
        Steps { places, clients: HashMap::new(), named: HashMap::new() }
    }

    /// Plays a step, and returns its line. Fails by what is no error of the gateway.
    pub async fn play(&mut self, step: &Value) -> Result<String, Box<dyn Error>> {
        let client = self.client(word(step, "at"))?;
        let told = match word(step, "do") {
            "put" => self.put(&client, step).await,
            "submit" => self.submit(&client, step).await,
            "get" => client.get(self.id(step, "run")?, false).await.map(|run| state(&run)).map_err(Into::into),
            "watch" => self.watch(&client, step).await,
            "watchMany" => self.watch_many(&client, step).await,
            "results" => self.results(&client, step).await,
            "set" => set(&client, step).await,
            "cancel" => self.cancel(&client, step).await,
            "delete" => self.delete(&client, step).await,
            "list" => list(&client, step).await,
            other => Err(format!("nobody knows how to {}", other).into()),
        };
        let told = match told {
            Ok(told) => members(told),
            Err(error) => failure(error.downcast_ref::<runs_gateway::Error>().ok_or_else(|| error.to_string())?),
        };
        Ok(format!("{{\"step\":{},{}", text(word(step, "step")), &told[1..]))
    }

    fn client(&mut self, name: &str) -> Result<Client, Box<dyn Error>> {
        if let Some(client) = self.clients.get(name) {
            return Ok(client.clone());
        }
        let place = &self.places[name];
        let read = |name: &str| place[name].as_str().map(content).transpose();
        let identity = match (read("cert")?, read("key")?) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            (None, None) => None,
            _ => return Err("a certificate and its key come together".into()),
        };
        let token = place["token"].as_str().map(String::from);
        let patience = Duration::from_secs_f64(place["giveUpAfter"].as_f64().unwrap_or(60.0).max(0.0));
        let security = Security { ca: read("ca")?, identity, token, ..Security::default() };
        let client = Client::new(word(place, "address"), &security)?.retry_for(Some(patience));
        self.clients.insert(name.into(), client.clone());
        Ok(client)
    }

    async fn put(&mut self, client: &Client, step: &Value) -> Told {
        let flow_id = client.put(word(step, "flow")).await?;
        self.named.insert(word(step, "as").into(), flow_id.clone());
        Ok(vec![("flowId", text(flow_id))])
    }

    async fn submit(&mut self, client: &Client, step: &Value) -> Told {
        let request = SubmitRunRequest {
            flow_id: self.id(step, "flow")?.into(),
            inputs: inputs(&step["inputs"]).into_iter().map(json).collect(),
            idempotency_key: word(step, "key").into(),
            labels: labels(step),
            ..Default::default()
        };
        let run = client.submit(request).await?;
        let total = run.items.as_ref().map_or(0, |items| items.total);
        let mut told = vec![("flowName", text(run.flow_name())), ("total", text(total))];
        if let Some(earlier) = step["sameAs"].as_str() {
            told.push(("same", text(self.named.get(earlier) == Some(&run.run_id))));
        }
        self.named.insert(word(step, "as").into(), run.run_id);
        Ok(told)
    }

    async fn watch(&self, client: &Client, step: &Value) -> Told {
        let run_id = self.id(step, "run")?;
        let mut updates = client.watch(run_id, Watch { heartbeat: heartbeat(step), ..Watch::default() });
        let (mut picture, mut reconnected, mut waits) = (RunPicture::default(), false, step["slow"] == true);
        while let Some(update) = updates.next().await? {
            if std::mem::take(&mut waits) {
                client.wait(run_id).await?;
            }
            reconnected |= update.reconnected;
            picture.add(update);
        }
        let mut told = came(&picture.run, step);
        told.push(("reconnected", text(reconnected)));
        Ok(told)
    }

    async fn watch_many(&self, client: &Client, step: &Value) -> Told {
        let named = words(step, "runs").map(|name| self.named.get(name).ok_or("no earlier step has made the run"));
        let named: Vec<&str> = named.map(|id| id.map(String::as_str)).collect::<Result<_, _>>()?;
        let run_ids: Vec<&str> = named.into_iter().chain(words(step, "runIds")).collect();
        let watch = ManyWatch { order: order(step), heartbeat: heartbeat(step), ..ManyWatch::default() };
        let outcomes = Outcomes::of(client.watch_many(run_ids.iter().copied(), watch)).await?;
        let told = |id: &str| outcomes.get(id).map_or_else(failure, |run| members(came(run, step)));
        let runs = array(run_ids.into_iter().map(told));
        Ok(vec![("runs", runs), ("reconnected", text(outcomes.reconnected))])
    }

    async fn results(&self, client: &Client, step: &Value) -> Told {
        let mut results = client.results(self.id(step, "run")?, order(step));
        let mut came = Vec::new();
        while let Some(result) = results.next().await? {
            came.push(result);
        }
        Ok(vec![("results", shown(&came, step))])
    }

    async fn cancel(&self, client: &Client, step: &Value) -> Told {
        Ok(state(&client.cancel(self.id(step, "run")?, word(step, "reason")).await?))
    }

    async fn delete(&self, client: &Client, step: &Value) -> Told {
        client.delete(self.id(step, "run")?, step["cancel"] == true).await?;
        Ok(vec![("deleted", text(true))])
    }

    /// Returns the id that a step gives, or that of what an earlier one has called so.
    fn id<'a>(&'a self, step: &'a Value, kind: &str) -> Result<&'a str, String> {
        let given = step[&format!("{}Id", kind)].as_str();
        let named = || self.named.get(word(step, kind)).map(String::as_str);
        given.or_else(named).ok_or_else(|| format!("no earlier step has made the {}", kind))
    }
}

async fn set(client: &Client, step: &Value) -> Told {
    let with_results = step["results"] == true;
    let mut events = client.watch_set(SetWatch { filter: filter(step), results: with_results, ..SetWatch::default() });
    let (mut picture, mut caught_up, mut reconnected) = (RunSet::default(), false, false);
    while let Some(event) = events.next().await? {
        picture.add(&event);
        reconnected |= event.reconnected;
        caught_up = event.change.is_none() || (caught_up && !event.reconnected);
        if caught_up && is_complete(&picture, word(step, "until")) {
            break;
        }
    }
    let mut runs: Vec<&RunStatus> = picture.runs.values().collect();
    runs.sort_by_key(|run| &run.labels["name"]);
    let shown = runs.into_iter().map(|run| {
        let results = with_results.then(|| ("results", results(&run.results)));
        members([("name", text(run.labels["name"].as_str()))].into_iter().chain(state(run)).chain(results))
    });
    Ok(vec![("runs", array(shown)), ("reconnected", text(reconnected))])
}

async fn list(client: &Client, step: &Value) -> Told {
    let page_size = step["pageSize"].as_i64().unwrap_or_default() as i32;
    let mut request = ListRunsRequest { filter: Some(filter(step)), page_size, include_total: true, ..Default::default() };
    let mut names = Vec::new();
    loop {
        let page = client.list(&request).await?;
        names.extend(page.runs.iter().map(|run| text(run.labels["name"].as_str())));
        if page.next_page_token.is_empty() {
            return Ok(vec![("runs", array(names)), ("total", text(page.total_size()))]);
        }
        request.page_token = page.next_page_token;
    }
}

fn content(file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("cannot read {}: {}", file, error))
}

/// Returns a member that is text; an empty one, if there is none.
fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// Returns a member that is a list of texts; an empty one, if there is none.
fn words<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    object[name].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn heartbeat(step: &Value) -> Duration {
    Duration::from_secs_f64(step["heartbeat"].as_f64().unwrap_or(10.0))
}

fn order(step: &Value) -> ResultOrder {
    match word(step, "order") {
        "byCompletion" => ResultOrder::ByCompletion,
        _ => ResultOrder::ByIndex,
    }
}

/// Returns inputs: they are given as texts, or many alike by their number and length.
fn inputs(given: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for each in given.as_array().into_iter().flatten() {
        match each.as_str() {
            Some(text) => texts.push(text.into()),
            None => {
                let pad = "x".repeat(each["pad"].as_u64().unwrap_or_default() as usize);
                texts
                    .extend((0..each["count"].as_u64().unwrap_or_default()).map(|index| format!("[{},\"{}\"]", index, pad)));
            }
        }
    }
    texts
}

fn labels(step: &Value) -> HashMap<String, String> {
    let given = step["labels"].as_object().into_iter().flatten();
    given.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into())).collect()
}

fn filter(step: &Value) -> RunFilter {
    let state = |word: &str| RunState::from_str_name(&format!("RUN_STATE_{}", word.to_uppercase()));
    let states = words(step, "states").filter_map(state);
    RunFilter { labels: labels(step), states: states.map(Into::into).collect(), ..Default::default() }
}

fn is_complete(picture: &RunSet, until: &str) -> bool {
    match until {
        "caughtUp" => true,
        "empty" => picture.runs.is_empty(),
        _ => !picture.runs.is_empty() && picture.runs.values().all(has_ended),
    }
}

/// Returns what has come of a run.
fn came(run: &RunStatus, step: &Value) -> Vec<Member> {
    let mut told = state(run);
    told.push(("results", shown(&run.results, step)));
    told
}

fn shown(came: &[ItemResult], step: &Value) -> String {
    if step["summary"] == true {
        summary(came)
    } else {
        results(came)
    }
}
