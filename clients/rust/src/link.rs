//! A connection of HTTP/2, and the task that keeps it.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use crate::Error;

/// Begins calls on a connection.
pub type Sender = SendRequest<Bytes>;

/// What the gateway may send on a call that nobody reads.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all calls together: a slow reader must not hold up the other calls of a connection.
const LINK_WINDOW: u32 = 256 << 20;

/// A peer that has vanished without a word is noticed in this time.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Begins HTTP/2 on a connection. It ends with the last call on it when the sender is gone.
pub async fn open<T>(socket: T) -> Result<Sender, Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(LINK_WINDOW).enable_push(false);
    let (sender, mut connection) = builder.handshake(socket).await.map_err(Error::cut)?;
    let pings = connection.ping_pong().expect("nobody has taken it yet");
    tokio::spawn(async move {
        // Either end is that of the connection. The calls on it learn why.
        tokio::select! {
            _ = connection => (),
            _ = silence(pings) => (),
        }
    });
    Ok(sender)
}

/// Returns when the peer answers no more.
async fn silence(mut pings: PingPong) {
    loop {
        sleep(PING_AFTER).await;
        if !matches!(timeout(PONG_WITHIN, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
