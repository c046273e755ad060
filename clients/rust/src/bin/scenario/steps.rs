//! The steps of the scenario, by the calls of the client.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::time::Duration;

use runs_gateway::v1::{ItemResult, ListRunsRequest, ResultOrder, RunFilter, RunState, RunStatus, SubmitRunRequest};
use runs_gateway::{has_ended, json, Client, RunSet, Security, SetWatch, Watch};
use serde_json::Value;

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
            "results" => self.results(&client, step).await,
            "set" => set(&client, step).await,
            "cancel" => self.cancel(&client, step).await,
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
        let ca = place["ca"].as_str().map(fs::read).transpose()?;
        let token = place["token"].as_str().map(String::from);
        let patience = Duration::from_secs_f64(place["giveUpAfter"].as_f64().unwrap_or(60.0));
        let security = Security { ca, token, ..Security::default() };
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
        let heartbeat = Duration::from_secs_f64(step["heartbeat"].as_f64().unwrap_or(10.0));
        let mut updates = client.watch(run_id, Watch { heartbeat, ..Watch::default() });
        let (mut last, mut came, mut reconnected) = (None, Vec::new(), false);
        while let Some(update) = updates.next().await? {
            if last.is_none() && step["slow"] == true {
                client.wait(run_id).await?;
            }
            if update.restarted {
                came.clear();
            }
            came.extend_from_slice(&update.run.results);
            reconnected |= update.reconnected;
            last = Some(update.run);
        }
        let mut told = state(&last.ok_or("a stream ends only after an update")?);
        told.extend([("results", shown(&came, step)), ("reconnected", text(reconnected))]);
        Ok(told)
    }

    async fn results(&self, client: &Client, step: &Value) -> Told {
        let order = match word(step, "order") {
            "byCompletion" => ResultOrder::ByCompletion,
            _ => ResultOrder::ByIndex,
        };
        let mut results = client.results(self.id(step, "run")?, order);
        let mut came = Vec::new();
        while let Some(result) = results.next().await? {
            came.push(result);
        }
        Ok(vec![("results", shown(&came, step))])
    }

    async fn cancel(&self, client: &Client, step: &Value) -> Told {
        Ok(state(&client.cancel(self.id(step, "run")?, word(step, "reason")).await?))
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

/// Returns a member that is text; an empty one, if there is none.
fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
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
    let states = step["states"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let states = states.filter_map(|state| RunState::from_str_name(&format!("RUN_STATE_{}", state.to_uppercase())));
    RunFilter { labels: labels(step), states: states.map(Into::into).collect(), ..Default::default() }
}

fn is_complete(picture: &RunSet, until: &str) -> bool {
    match until {
        "caughtUp" => true,
        "empty" => picture.runs.is_empty(),
        _ => !picture.runs.is_empty() && picture.runs.values().all(has_ended),
    }
}

fn shown(came: &[ItemResult], step: &Value) -> String {
    if step["summary"] == true {
        summary(came)
    } else {
        results(came)
    }
}
