//! The news of many runs on one stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::following::Resumable;
use crate::outage::Outage;
use crate::run_stream::RunStream;
use crate::v1::watch_runs_request::Action;
use crate::v1::watch_runs_response::Event;
use crate::v1::{ResultOrder, WatchRunsRequest, WatchRunsResponse};
use crate::{Error, SetStream, Update, Watch};

/// Each run makes the heartbeats of a stream so much rarer, when there are very many.
const HEARTBEAT_OF_EACH: Duration = Duration::from_millis(100);

/// A message has so many characters of a text that is no id.
const NAME_LENGTH: usize = 255;

/// How several runs are followed on one stream.
pub struct ManyWatch {
    /// Whether the results of their items are wanted.
    pub results: bool,
    /// The order of those of each.
    pub order: ResultOrder,
    /// The gateway says so often that it is there; with very many runs, less often. Silence for three times as long is a
    /// lost connection.
    pub heartbeat: Duration,
    /// The tokens of earlier updates, by the ids of their runs, to go on after them.
    pub resume_tokens: HashMap<String, Vec<u8>>,
}

impl Default for ManyWatch {
    fn default() -> ManyWatch {
        let Watch { results, order, heartbeat, .. } = Watch::default();
        ManyWatch { results, order, heartbeat, resume_tokens: HashMap::new() }
    }
}

/// News of one of many runs. Behind the last two, nothing comes of it.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Nearly all events are updates.
pub enum RunEvent {
    /// Its status has changed, or has come for the first time.
    Update(Update),
    /// It has ended, and all has been told.
    Ended,
    /// It cannot be followed.
    Failed(Error),
}

/// The news of many runs, over any number of calls. What a [`RunStream`] is for each of them, this is for all.
pub struct ManyRunsStream {
    /// By the names that messages have for them.
    runs: BTreeMap<String, RunStream>,
    silence: Option<Duration>,
    outage: Outage,
}

impl ManyRunsStream {
    pub(crate) fn new(run_ids: impl Iterator<Item = String>, watch: ManyWatch, outage: impl Fn() -> Outage) -> Self {
        let run_ids: BTreeSet<String> = run_ids.collect();
        let ManyWatch { results, order, heartbeat, mut resume_tokens } = watch;
        let heartbeat = heartbeat.max(HEARTBEAT_OF_EACH * run_ids.len() as u32);
        let followed = |run_id: String| {
            let resume_token = resume_tokens.remove(&run_id).unwrap_or_default();
            let watch = Watch { results, order, heartbeat, timeout: None, resume_token };
            (run_id.chars().take(NAME_LENGTH).collect(), RunStream::watching(&run_id, watch, outage()))
        };
        let runs: BTreeMap<_, _> = run_ids.into_iter().map(followed).collect();
        let silence = runs.values().next().and_then(RunStream::silence);
        ManyRunsStream { runs, silence, outage: outage() }
    }
}

impl Resumable for ManyRunsStream {
    type Request = WatchRunsRequest;
    type Response = WatchRunsResponse;
    type Event = (String, RunEvent);
    const PATH: &'static str = SetStream::PATH;

    fn requests(&mut self) -> Vec<WatchRunsRequest> {
        self.outage.begun();
        let asked = self.runs.values_mut().flat_map(RunStream::requests);
        asked.map(|request| WatchRunsRequest { action: Some(Action::Add(request)) }).collect()
    }

    fn silence(&self) -> Option<Duration> {
        self.silence
    }

    fn received(&mut self, message: WatchRunsResponse) -> Result<Option<Self::Event>, Error> {
        let name = message.run_id;
        let run = match self.runs.get_mut(&name) {
            Some(run) => run,
            None => return Ok(None),
        };
        let error = match message.event {
            Some(Event::Update(update)) => {
                self.outage.heard(run.is_news(&update));
                let update = run.received(update)?;
                return Ok(update.map(|update| (run.run_id().into(), RunEvent::Update(update))));
            }
            Some(Event::Error(error)) => Some(Error::from_watch(error)),
            Some(Event::Ended(_)) => None,
            Some(Event::CaughtUp(_)) | None => return Ok(None),
        };
        let end = match run.ended(error.clone()) {
            // It goes on all the same, which takes another stream. The gateway answers: the run gives up alone.
            Ok(Some(_)) => {
                self.outage.heard(false);
                return Err(error.unwrap_or_else(Error::too_early));
            }
            Ok(None) => RunEvent::Ended,
            Err(error) => RunEvent::Failed(error),
        };
        let run_id = run.run_id().into();
        self.runs.remove(&name);
        Ok(Some((run_id, end)))
    }

    fn ended(&mut self, error: Option<Error>) -> Result<Option<Duration>, Error> {
        if self.runs.is_empty() {
            return Ok(None);
        }
        self.runs.values_mut().for_each(RunStream::cut);
        self.outage.pause(error.unwrap_or_else(Error::too_early)).map(Some)
    }
}
