//! The picture of a set of runs.

use std::collections::BTreeMap;

use crate::v1::{RunStatus, SetEvent as Kind};
use crate::SetEvent;

/// The runs of a set, as the events of [`Client::watch_set`](crate::Client::watch_set) have told so far. When the set is
/// caught up, and whenever nothing is on its way, these are the runs that [`Client::list`](crate::Client::list) lists.
#[derive(Clone, Debug, Default)]
pub struct RunSet {
    /// The latest status of each run, by its id.
    pub runs: BTreeMap<String, RunStatus>,
}

impl RunSet {
    /// Adds the next event.
    pub fn add(&mut self, event: &SetEvent) {
        if event.restarted {
            self.runs.clear();
        }
        match (&event.change, &event.run) {
            (None, _) => (),
            (Some((Kind::Left, id)), _) | (Some((_, id)), None) => {
                self.runs.remove(id);
            }
            (Some((_, id)), Some(run)) => {
                self.runs.insert(id.clone(), run.clone());
            }
        }
    }
}
