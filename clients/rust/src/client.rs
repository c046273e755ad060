//! The calls of a gateway.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::time::sleep;
use uuid::Uuid;

use crate::channel::Channel;
use crate::outage::Outage;
use crate::target::Target;
use crate::v1::put_blob_request::Content;
use crate::v1::SubmitRunResponse;
use crate::v1::{json_value, BlobType, CancelRunRequest, CancelRunResponse, DeleteRunRequest, DeleteRunResponse};
use crate::v1::{
    JsonValue, ListRunsRequest, ListRunsResponse, PutBlobRequest, PutBlobResponse, ResultOrder, RunStatus, SubmitRunRequest,
};
use crate::{Error, Following, ManyRunsStream, ManyWatch, Results, RunPicture, RunStream};
use crate::{Security, SetStream, SetWatch, Watch};

/// The largest message that the contract can ask for: calls take any.
pub const ANY_SIZE: u32 = i32::MAX as u32;

/// How long a call may take that does not follow.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The calls of a gateway, over one connection, which clones share.
///
/// Each call is made again after a lost connection. Statuses and filters are the messages of the contract.
#[derive(Clone)]
pub struct Client {
    channel: Arc<Channel>,
    retry_for: Option<Duration>,
}

impl Client {
    /// Connects when it is first used, to `HOST:PORT`. Fails if an argument has no valid form.
    pub fn new(address: &str, security: &Security) -> Result<Client, Error> {
        let channel = Arc::new(Channel::new(Target::new(address, security)?));
        Ok(Client { channel, retry_for: Some(Duration::from_secs(60)) })
    }

    /// Gives up when the gateway has not answered for so long; `None`: never.
    pub fn retry_for(self, limit: Option<Duration>) -> Client {
        Client { retry_for: limit, ..self }
    }

    /// Stores a flow, which is JSON text, and returns its id.
    pub async fn put(&self, flow: &str) -> Result<String, Error> {
        let content = Some(Content::Json(flow.into()));
        let request = PutBlobRequest { content, r#type: BlobType::Flow.into() };
        let answer: PutBlobResponse = self.call("/runs.v1.BlobsService/PutBlob", &request).await?;
        Ok(answer.blob_id)
    }

    /// Submits a run, and returns its status. One with the same key is the same run; without a key, the client makes one
    /// up, so that its own retries make one run.
    pub async fn submit(&self, mut request: SubmitRunRequest) -> Result<RunStatus, Error> {
        if request.idempotency_key.is_empty() {
            request.idempotency_key = Uuid::new_v4().to_string();
        }
        request.max_response_message_bytes = ANY_SIZE;
        let answer: SubmitRunResponse = self.call("/runs.v1.RunsService/SubmitRun", &request).await?;
        Ok(answer.run.unwrap_or_default())
    }

    /// Returns the present status of a run, with its results if they are wanted.
    pub async fn get(&self, run_id: &str, results: bool) -> Result<RunStatus, Error> {
        folded(self.follow(RunStream::present(run_id, results, self.outage()))).await
    }

    /// Waits until a run has ended, and returns its status with all results.
    pub async fn wait(&self, run_id: &str) -> Result<RunStatus, Error> {
        folded(self.watch(run_id, Watch::default())).await
    }

    /// Follows a run until it has ended.
    pub fn watch(&self, run_id: &str, watch: Watch) -> Following<RunStream> {
        self.follow(RunStream::watching(run_id, watch, self.outage()))
    }

    /// Returns each result of a run, until it has ended.
    pub fn results(&self, run_id: &str, order: ResultOrder) -> Results {
        Results::new(self.watch(run_id, Watch { order, ..Watch::default() }))
    }

    /// Follows some runs on one stream, until each has ended or cannot be followed.
    pub fn watch_many<I: Into<String>>(
        &self,
        run_ids: impl IntoIterator<Item = I>,
        watch: ManyWatch,
    ) -> Following<ManyRunsStream> {
        self.follow(ManyRunsStream::new(run_ids.into_iter().map(Into::into), watch, || self.outage()))
    }

    /// Follows a set of runs.
    pub fn watch_set(&self, watch: SetWatch) -> Following<SetStream> {
        self.follow(SetStream::new(watch, self.outage()))
    }

    /// Cancels a run, and returns its status. A run that has ended stays as it is.
    pub async fn cancel(&self, run_id: &str, reason: &str) -> Result<RunStatus, Error> {
        let request = CancelRunRequest { run_id: run_id.into(), reason: reason.into(), ..Default::default() };
        let answer: CancelRunResponse = self.call("/runs.v1.RunsService/CancelRun", &request).await?;
        Ok(answer.run.unwrap_or_default())
    }

    /// Deletes a run that has ended, with its inputs and results. One that goes on is cancelled before, if that is wanted.
    pub async fn delete(&self, run_id: &str, cancel: bool) -> Result<(), Error> {
        let mut outage = self.outage();
        let request = DeleteRunRequest { run_id: run_id.into(), cancel };
        match self.call_within(&mut outage, "/runs.v1.RunsService/DeleteRun", &request).await {
            Ok(DeleteRunResponse {}) => Ok(()),
            // An earlier call, whose answer was lost, has deleted it.
            Err(error) if outage.has_failed() && error.reason == "RUN_NOT_FOUND" => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns a page of the runs that match a filter. It names the next one by `next_page_token`.
    pub async fn list(&self, request: &ListRunsRequest) -> Result<ListRunsResponse, Error> {
        self.call("/runs.v1.RunsService/ListRuns", request).await
    }

    /// Returns the answer of a call. All of them are safe to repeat.
    async fn call<Q: Message, A: Message + Default>(&self, path: &'static str, request: &Q) -> Result<A, Error> {
        self.call_within(&mut self.outage(), path, request).await
    }

    async fn call_within<Q, A>(&self, outage: &mut Outage, path: &'static str, request: &Q) -> Result<A, Error>
    where
        Q: Message,
        A: Message + Default,
    {
        loop {
            match self.channel.answer(path, request, CALL_TIMEOUT).await {
                Ok(answer) => return Ok(answer),
                Err(error) => sleep(outage.pause(error)?).await,
            }
        }
    }

    fn follow<S: crate::following::Resumable>(&self, stream: S) -> Following<S> {
        Following::new(self.channel.clone(), stream)
    }

    fn outage(&self) -> Outage {
        Outage::new(self.retry_for)
    }
}

/// Returns the message for a value, which is JSON text.
pub fn json(text: impl Into<String>) -> JsonValue {
    JsonValue { encoding: Some(json_value::Encoding::Json(text.into())) }
}

/// Returns the last status of a stream, with the results of all updates.
async fn folded(mut updates: Following<RunStream>) -> Result<RunStatus, Error> {
    let mut picture = RunPicture::default();
    while let Some(update) = updates.next().await? {
        picture.add(update);
    }
    Ok(picture.run)
}
