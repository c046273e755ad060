//! The events of a set of runs.

use std::time::Duration;

use crate::following::Resumable;
use crate::outage::Outage;
use crate::v1::watch_runs_request::Action;
use crate::v1::watch_runs_response::Event;
use crate::v1::{CaughtUp, GetRunResponse, ItemResult, RunFilter, RunStatus};
use crate::v1::{SetEvent as Kind, WatchRunsRequest, WatchRunsResponse, WatchSet};
use crate::Error;

const NAME: &str = "runs";

/// How a set of runs is followed.
#[derive(Default)]
pub struct SetWatch {
    /// Which runs are in it.
    pub filter: RunFilter,
    /// Whether the results of runs that have ended are wanted.
    pub results: bool,
    /// Leave out what is in the set already.
    pub only_new: bool,
    /// The token of an earlier event, to go on after it.
    pub resume_token: Vec<u8>,
}

/// News of a set of runs.
#[derive(Clone, Debug)]
pub struct SetEvent {
    /// What has happened, and to which run; `None`: all has been told that had happened when the set was asked for.
    pub change: Option<(Kind, String)>,
    /// The status of the run; `None` if it was deleted.
    pub run: Option<RunStatus>,
    /// The point after this event.
    pub resume_token: Vec<u8>,
    /// The gateway did not understand the token: the set begins anew, and earlier events count no more.
    pub restarted: bool,
    /// The connection was lost before this event.
    pub reconnected: bool,
}

/// The events of one set, over any number of calls.
pub struct SetStream {
    watch: WatchSet,
    outage: Outage,
    /// The results of a run, of which more are to come.
    results: Vec<ItemResult>,
    restarted: bool,
    cut: bool,
}

impl SetStream {
    pub(crate) fn new(wanted: SetWatch, outage: Outage) -> SetStream {
        let watch = WatchSet {
            name: NAME.into(),
            filter: Some(wanted.filter),
            resume_token: wanted.resume_token,
            only_new: wanted.only_new,
            include_results: wanted.results,
            max_response_message_bytes: crate::client::ANY_SIZE,
            ..Default::default()
        };
        SetStream { watch, outage, results: Vec::new(), restarted: false, cut: false }
    }

    fn updated(&mut self, update: GetRunResponse, kind: Kind, run_id: String) -> Option<SetEvent> {
        let mut run = update.run;
        if let Some(run) = &mut run {
            self.results.append(&mut run.results);
        }
        if update.resume_token.is_empty() {
            self.restarted |= update.restarted;
            return None;
        }
        let results = std::mem::take(&mut self.results);
        let run = run.map(|run| RunStatus { results, ..run });
        Some(self.reached(Some((kind, run_id)), run, update.resume_token, update.restarted))
    }

    /// Goes on after this point from now on.
    fn reached(
        &mut self,
        change: Option<(Kind, String)>,
        run: Option<RunStatus>,
        resume_token: Vec<u8>,
        restarted: bool,
    ) -> SetEvent {
        self.outage.heard(resume_token != self.watch.resume_token);
        self.watch.resume_token = resume_token.clone();
        let restarted = restarted | std::mem::take(&mut self.restarted);
        SetEvent { change, run, resume_token, restarted, reconnected: std::mem::take(&mut self.cut) }
    }
}

impl Resumable for SetStream {
    type Request = WatchRunsRequest;
    type Response = WatchRunsResponse;
    type Event = SetEvent;
    const PATH: &'static str = "/runs.v1.RunsService/WatchRuns";

    /// Of what has come in part before a cut, all comes again.
    fn requests(&mut self) -> Vec<WatchRunsRequest> {
        self.outage.begun();
        self.results.clear();
        self.restarted = false;
        self.watch.only_new &= self.watch.resume_token.is_empty();
        vec![WatchRunsRequest { action: Some(Action::AddSet(self.watch.clone())) }]
    }

    /// Nothing is sent while nothing happens. A peer that has vanished does not answer the pings of the connection.
    fn silence(&self) -> Option<Duration> {
        None
    }

    fn received(&mut self, message: WatchRunsResponse) -> Result<Option<SetEvent>, Error> {
        let kind = message.set_event();
        match message.event {
            Some(Event::Update(update)) => Ok(self.updated(update, kind, message.run_id)),
            Some(Event::CaughtUp(CaughtUp { resume_token, restarted, .. })) => {
                Ok(Some(self.reached(None, None, resume_token, restarted)))
            }
            Some(Event::Error(error)) => Err(Error::from_watch(error)),
            Some(Event::Ended(_)) | None => Err(Error::cut("it has stopped following the set")),
        }
    }

    fn ended(&mut self, error: Option<Error>) -> Result<Option<Duration>, Error> {
        self.cut = true;
        self.outage.pause(error.unwrap_or_else(Error::too_early)).map(Some)
    }
}
