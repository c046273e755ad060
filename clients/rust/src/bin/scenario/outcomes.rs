//! What comes of many runs that are followed on one stream.

use std::collections::HashMap;

use runs_gateway::v1::RunStatus;
use runs_gateway::{Error, Following, ManyRunsStream, RunEvent, RunPicture};

/// What has come of many runs.
#[derive(Default)]
pub struct Outcomes {
    pictures: HashMap<String, RunPicture>,
    errors: HashMap<String, Error>,
    /// Whether the connection was lost meanwhile.
    pub reconnected: bool,
}

impl Outcomes {
    /// Follows all of them.
    pub async fn of(mut events: Following<ManyRunsStream>) -> Result<Outcomes, Error> {
        let mut outcomes = Outcomes::default();
        while let Some((run_id, event)) = events.next().await? {
            match event {
                RunEvent::Update(update) => {
                    outcomes.reconnected |= update.reconnected;
                    outcomes.pictures.entry(run_id).or_default().add(update);
                }
                RunEvent::Failed(error) => {
                    outcomes.errors.insert(run_id, error);
                }
                RunEvent::Ended => (),
            }
        }
        Ok(outcomes)
    }

    /// Returns a run that has ended, or why it cannot be followed.
    pub fn get(&self, run_id: &str) -> Result<&RunStatus, &Error> {
        match self.errors.get(run_id) {
            Some(error) => Err(error),
            None => Ok(&self.pictures[run_id].run),
        }
    }
}
