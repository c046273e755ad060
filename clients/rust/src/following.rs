//! A stream that is called again after a cut, and continues where it stopped.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::time::{sleep_until, timeout, Instant};

use crate::call::Call;
use crate::channel::Channel;
use crate::Error;

/// What a stream requests, what a message means, when to call again. It does no input or output.
pub trait Resumable {
    /// What is sent.
    type Request: Message;
    /// What comes.
    type Response: Message + Default;
    /// What it tells.
    type Event;
    /// The method.
    const PATH: &'static str;

    /// Returns the requests of a call, for the events that have not been received.
    fn requests(&mut self) -> Vec<Self::Request>;

    /// Returns how long the next message may take; `None`: as long as the call.
    fn silence(&self) -> Option<Duration>;

    /// Returns the event in a message, `None` if there is nothing new in it, or the error for which it ends here.
    fn received(&mut self, message: Self::Response) -> Result<Option<Self::Event>, Error>;

    /// Returns how long to pause before the next call; `None`: all has been told.
    ///
    /// `error` is the one that the call has ended with. It is the result if another call would not help, or not in time.
    fn ended(&mut self, error: Option<Error>) -> Result<Option<Duration>, Error>;
}

/// The events of a run, of many or of a set, over any number of calls. Nothing comes twice, and nothing is missing.
pub struct Following<S> {
    channel: Arc<Channel>,
    stream: S,
    call: Option<Call>,
    pause_until: Option<Instant>,
    over: bool,
}

impl<S: Resumable> Following<S> {
    pub(crate) fn new(channel: Arc<Channel>, stream: S) -> Self {
        Following { channel, stream, call: None, pause_until: None, over: false }
    }

    /// Returns the next event; `None`: there are no more. It can be dropped, and called again.
    pub async fn next(&mut self) -> Result<Option<S::Event>, Error> {
        while !self.over {
            let error = match self.message().await {
                Ok(Some(message)) => match self.stream.received(message) {
                    Ok(None) => continue,
                    Ok(event) => return Ok(event),
                    Err(error) => Some(error),
                },
                Ok(None) => None,
                Err(error) => Some(error),
            };
            self.call = None;
            self.over = true;
            if let Some(pause) = self.stream.ended(error)? {
                self.over = false;
                self.pause_until = Some(Instant::now() + pause);
            }
        }
        Ok(None)
    }

    async fn message(&mut self) -> Result<Option<S::Response>, Error> {
        if let Some(due) = self.pause_until {
            sleep_until(due).await;
            self.pause_until = None;
        }
        let call = match &mut self.call {
            Some(call) => call,
            none => none.insert(self.channel.call(S::PATH, &self.stream.requests()).await?),
        };
        let limit = match self.stream.silence() {
            None => return call.next().await,
            Some(limit) => limit,
        };
        match timeout(limit, call.next()).await {
            Ok(message) => message,
            Err(_) => {
                self.channel.leave(call.link).await;
                Err(Error::cut(format!("nothing has come for {} seconds", limit.as_secs_f64())))
            }
        }
    }
}
