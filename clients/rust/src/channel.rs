//! The calls of a gateway over one connection, which is made again when it is lost. No call is tried again here.

use std::time::Duration;

use prost::Message;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::call::Call;
use crate::link::Sender;
use crate::target::Target;
use crate::{Code, Error};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The connection of the time, and its number.
#[derive(Default)]
struct Current {
    number: u64,
    sender: Option<Sender>,
}

/// The calls of a gateway over one connection.
pub struct Channel {
    target: Target,
    current: Mutex<Current>,
}

impl Channel {
    pub fn new(target: Target) -> Channel {
        Channel { target, current: Mutex::default() }
    }

    /// Returns the answer of a method, which may take so long.
    pub async fn answer<Q, A>(&self, path: &'static str, request: &Q, limit: Duration) -> Result<A, Error>
    where
        Q: Message,
        A: Message + Default,
    {
        let answering = async {
            let mut call = self.call(path, std::slice::from_ref(request)).await?;
            let answer = call.next().await?;
            call.next::<A>().await?;
            answer.ok_or_else(|| Error::cut("the call has ended without an answer"))
        };
        match timeout(limit, answering).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(Code::DeadlineExceeded, "no answer in time")),
        }
    }

    /// Begins a call of a method with all of its requests.
    pub async fn call<Q: Message>(&self, path: &'static str, requests: &[Q]) -> Result<Call, Error> {
        let (link, sender) = self.ready().await?;
        Call::begin(sender, self.target.request(path), requests, link)
    }

    /// Leaves a connection for good: further calls get another one.
    pub async fn leave(&self, link: u64) {
        let mut current = self.current.lock().await;
        if current.number == link {
            current.sender = None;
        }
    }

    /// Returns a connection that takes a call. One that has been lost meanwhile shows it now.
    async fn ready(&self) -> Result<(u64, Sender), Error> {
        let (link, sender) = self.connected().await?;
        if let Ok(sender) = sender.ready().await {
            return Ok((link, sender));
        }
        self.leave(link).await;
        let (link, sender) = self.connected().await?;
        Ok((link, sender.ready().await.map_err(Error::cut)?))
    }

    async fn connected(&self) -> Result<(u64, Sender), Error> {
        let mut current = self.current.lock().await;
        if let Some(sender) = &current.sender {
            return Ok((current.number, sender.clone()));
        }
        let connecting = timeout(CONNECT_WITHIN, self.target.connect()).await;
        let sender = connecting.unwrap_or_else(|_| Err(Error::cut("it does not answer")))?;
        current.number += 1;
        current.sender = Some(sender.clone());
        Ok((current.number, sender))
    }
}
