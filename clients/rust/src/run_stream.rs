//! The updates of one run.

use std::time::{Duration, Instant};

use crate::following::Resumable;
use crate::outage::Outage;
use crate::v1::{GetRunRequest, GetRunResponse, ResultOrder, RunState, RunStatus};
use crate::Error;

/// A stream is dead after so many missing heartbeats, but a message may take LEAST_SILENCE in any case.
const MISSED_HEARTBEATS: u32 = 3;
const LEAST_SILENCE: Duration = Duration::from_secs(1);

/// What ends so shortly before a deadline has ended with it: the two ends of a call have two clocks.
const EARLY: Duration = Duration::from_millis(50);

/// How a run is followed.
pub struct Watch {
    /// Whether the results of its items are wanted.
    pub results: bool,
    /// Their order.
    pub order: ResultOrder,
    /// The gateway says so often that it is there, 100 ms at least. Silence for three times as long is a lost connection.
    pub heartbeat: Duration,
    /// How long to follow it at most; `None`: to its end.
    pub timeout: Option<Duration>,
    /// The token of an earlier update, to go on after it.
    pub resume_token: Vec<u8>,
}

impl Default for Watch {
    fn default() -> Watch {
        let (order, heartbeat) = (ResultOrder::ByIndex, Duration::from_secs(10));
        Watch { results: true, order, heartbeat, timeout: None, resume_token: Vec::new() }
    }
}

/// News of a run.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its status, with the results that no earlier update had.
    pub run: RunStatus,
    /// Grows with each change of the run.
    pub revision: u64,
    /// The point after this update.
    pub resume_token: Vec<u8>,
    /// The gateway did not understand the token: the results begin anew, and those of earlier updates count no more.
    pub restarted: bool,
    /// The connection was lost before this update.
    pub reconnected: bool,
}

/// The updates of one run, over any number of calls.
pub struct RunStream {
    request: GetRunRequest,
    silence: Option<Duration>,
    until: Option<Instant>,
    outage: Outage,
    revision: Option<u64>,
    /// Nothing has come since the call began.
    first: bool,
    terminal: bool,
    cut: bool,
}

impl RunStream {
    pub(crate) fn present(run_id: &str, results: bool, outage: Outage) -> RunStream {
        let request = GetRunRequest { run_id: run_id.into(), include_results: results, ..asked() };
        RunStream::of(request, outage)
    }

    pub(crate) fn watching(run_id: &str, watch: Watch, outage: Outage) -> RunStream {
        let request = GetRunRequest {
            run_id: run_id.into(),
            wait: true,
            include_results: watch.results,
            result_order: watch.order.into(),
            heartbeat_interval: watch.heartbeat.try_into().ok(),
            resume_token: watch.resume_token,
            ..asked()
        };
        let silence = Some(LEAST_SILENCE.max(MISSED_HEARTBEATS * watch.heartbeat));
        let until = watch.timeout.map(|timeout| Instant::now() + timeout);
        RunStream { silence, until, ..RunStream::of(request, outage) }
    }

    fn of(request: GetRunRequest, outage: Outage) -> RunStream {
        let (silence, until, revision) = (None, None, None);
        RunStream { request, silence, until, outage, revision, first: true, terminal: false, cut: false }
    }

    /// The id of the run, as it was given.
    pub(crate) fn run_id(&self) -> &str {
        &self.request.run_id
    }

    /// Returns whether a message tells more than is known, which the first one of a call repeats.
    pub(crate) fn is_news(&self, message: &GetRunResponse) -> bool {
        let results = message.run.as_ref().map_or(false, |run| !run.results.is_empty());
        !self.first || self.revision != Some(message.revision) || results
    }

    /// Takes note that the connection is lost.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// OK is the end only behind the state that was asked for: a proxy that shortens deadlines lets a call end with OK.
    fn is_complete(&self, error: Option<&Error>) -> bool {
        let asked_for = match error {
            None => self.terminal || !self.request.wait,
            Some(_) => self.terminal && !self.request.include_results,
        };
        self.revision.is_some() && (asked_for || self.is_late())
    }

    fn is_late(&self) -> bool {
        self.until.map_or(false, |until| Instant::now() + EARLY >= until)
    }
}

impl Resumable for RunStream {
    type Request = GetRunRequest;
    type Response = GetRunResponse;
    type Event = Update;
    const PATH: &'static str = "/runs.v1.RunsService/GetRun";

    fn requests(&mut self) -> Vec<GetRunRequest> {
        self.outage.begun();
        self.first = true;
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        self.request.timeout = left.and_then(|left| left.try_into().ok());
        vec![self.request.clone()]
    }

    fn silence(&self) -> Option<Duration> {
        self.silence
    }

    fn received(&mut self, message: GetRunResponse) -> Result<Option<Update>, Error> {
        self.outage.heard(self.is_news(&message));
        let run = message.run.unwrap_or_default();
        self.request.resume_token = message.resume_token.clone();
        self.revision = Some(message.revision);
        self.terminal = has_ended(&run);
        self.first = false;
        if message.heartbeat {
            return Ok(None);
        }
        let reconnected = std::mem::take(&mut self.cut);
        let (revision, resume_token, restarted) = (message.revision, message.resume_token, message.restarted);
        Ok(Some(Update { run, revision, resume_token, restarted, reconnected }))
    }

    fn ended(&mut self, error: Option<Error>) -> Result<Option<Duration>, Error> {
        if self.is_complete(error.as_ref()) {
            return Ok(None);
        }
        let error = error.unwrap_or_else(Error::too_early);
        if self.is_late() {
            return Err(error);
        }
        self.cut();
        let pause = self.outage.pause(error)?;
        Ok(Some(self.until.map_or(pause, |until| pause.min(until.saturating_duration_since(Instant::now())))))
    }
}

/// Returns whether a run has ended.
pub fn has_ended(run: &RunStatus) -> bool {
    matches!(run.status(), RunState::Success | RunState::Failed | RunState::Cancelled)
}

fn asked() -> GetRunRequest {
    GetRunRequest { max_response_message_bytes: crate::client::ANY_SIZE, ..Default::default() }
}
