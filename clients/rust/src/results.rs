//! The results of a run, one by one.

use std::collections::{HashSet, VecDeque};

use crate::v1::ItemResult;
use crate::{Error, Following, RunStream};

/// Each result of a run once, until the run has ended.
pub struct Results {
    updates: Following<RunStream>,
    seen: HashSet<u64>,
    ready: VecDeque<ItemResult>,
}

impl Results {
    pub(crate) fn new(updates: Following<RunStream>) -> Results {
        Results { updates, seen: HashSet::new(), ready: VecDeque::new() }
    }

    /// Returns the next result; `None`: there are no more.
    pub async fn next(&mut self) -> Result<Option<ItemResult>, Error> {
        loop {
            // A stream that begins anew repeats results.
            if let Some(result) = self.ready.pop_front() {
                if self.seen.insert(result.item_index) {
                    return Ok(Some(result));
                }
            } else if let Some(update) = self.updates.next().await? {
                self.ready.extend(update.run.results);
            } else {
                return Ok(None);
            }
        }
    }
}
