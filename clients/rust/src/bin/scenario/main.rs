//! Plays the scenario of all clients: `scenario play SCENARIO PLACES`. Or follows what the conformance kit serves:
//! `scenario follow ADDRESS RUN_ID`, `scenario watch ADDRESS RUN_ID...`, `scenario set ADDRESS RUN_ID`.

mod outcomes;
mod printing;
mod steps;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use runs_gateway::{has_ended, Client, ManyWatch, RunSet, Security, SetWatch};
use serde_json::Value;

use outcomes::Outcomes;
use steps::Steps;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error);
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["play", scenario, places] => play(scenario, places).await?,
        ["follow", address, run_id] => {
            let run = Client::new(address, &Security::default())?.wait(run_id).await;
            println!("{}", run.as_ref().map_or_else(printing::refused, printing::folded));
        }
        ["watch", address, ref run_ids @ ..] => watch(address, run_ids).await?,
        ["set", address, run_id] => set(address, run_id).await?,
        _ => {
            eprintln!("usage: scenario play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID... | set ADDRESS RUN_ID");
            return Ok(ExitCode::from(64));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(scenario: &str, places: &str) -> Result<(), Box<dyn Error>> {
    let read = |path: &str| -> Result<Value, Box<dyn Error>> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let mut steps = Steps::new(read(places)?);
    for step in read(scenario)?.as_array().ok_or("the scenario is no list")? {
        println!("{}", steps.play(step).await?);
    }
    Ok(())
}

/// Follows some runs on one stream.
async fn watch(address: &str, run_ids: &[&str]) -> Result<(), Box<dyn Error>> {
    let client = Client::new(address, &Security::default())?;
    let outcomes = Outcomes::of(client.watch_many(run_ids.iter().copied(), ManyWatch::default())).await?;
    let told = run_ids.iter().map(|id| (*id, outcomes.get(id).map_or_else(printing::refused, printing::folded)));
    println!("{}", printing::members(told));
    Ok(())
}

/// Follows the set of all runs until it is caught up, and this run has ended.
async fn set(address: &str, run_id: &str) -> Result<(), Box<dyn Error>> {
    let mut events = Client::new(address, &Security::default())?.watch_set(SetWatch::default());
    let (mut picture, mut caught_up) = (RunSet::default(), false);
    while let Some(event) = events.next().await? {
        picture.add(&event);
        caught_up = event.change.is_none() || (caught_up && !event.reconnected);
        if caught_up && picture.runs.get(run_id).map_or(false, has_ended) {
            break;
        }
    }
    let runs = picture.runs.iter().map(|(id, run)| (id.as_str(), printing::word(run.status())));
    println!("{}", printing::members(runs));
    Ok(())
}
