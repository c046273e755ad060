//! The picture of a run.

use crate::v1::RunStatus;
use crate::Update;

/// A run, as the updates of [`Client::watch`](crate::Client::watch), or its own among those of
/// [`Client::watch_many`](crate::Client::watch_many), have told so far.
#[derive(Clone, Debug, Default)]
pub struct RunPicture {
    /// Its latest status, with the results of all updates.
    pub run: RunStatus,
}

impl RunPicture {
    /// Adds the next update.
    pub fn add(&mut self, update: Update) {
        let mut results = std::mem::replace(&mut self.run, update.run).results;
        if update.restarted {
            results.clear();
        }
        results.append(&mut self.run.results);
        self.run.results = results;
    }
}
