//! One call: the messages that answer requests, each behind five bytes, and the status in the trailers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::percent_decode;
use prost::Message;

use crate::link::Sender;
use crate::{Code, Error};

/// A message begins with a byte for its compression, and four for its length.
const HEAD: usize = 5;

/// A call that has begun. It is cancelled when it is dropped.
pub struct Call {
    /// The number of its connection.
    pub link: u64,
    response: Answer,
    received: BytesMut,
}

enum Answer {
    Expected(ResponseFuture),
    Begun(Response<RecvStream>),
}

impl Call {
    /// Sends all requests.
    pub fn begin<Q: Message>(mut sender: Sender, head: http::Request<()>, requests: &[Q], link: u64) -> Result<Call, Error> {
        let (response, mut stream) = sender.send_request(head, false).map_err(Error::cut)?;
        stream.send_data(framed(requests), true).map_err(Error::cut)?;
        Ok(Call { link, response: Answer::Expected(response), received: BytesMut::new() })
    }

    /// Returns the next message; `None`: there are no more, and the status is OK. It can be dropped and called again.
    ///
    /// Nothing is read ahead: of a reader that is slow, the gateway learns that it is.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Error> {
        loop {
            if let Some(message) = unframed(&mut self.received)? {
                return Ok(Some(M::decode(message).map_err(Error::cut)?));
            }
            let response = self.response.begun().await?;
            let data = match response.body_mut().data().await {
                Some(data) => data.map_err(Error::cut)?,
                None => {
                    let trailers = response.body_mut().trailers().await.map_err(Error::cut)?;
                    return status(response, trailers.as_ref()).map(|()| None);
                }
            };
            response.body_mut().flow_control().release_capacity(data.len()).map_err(Error::cut)?;
            self.received.extend_from_slice(&data);
        }
    }
}

impl Answer {
    async fn begun(&mut self) -> Result<&mut Response<RecvStream>, Error> {
        if let Answer::Expected(response) = self {
            *self = Answer::Begun(response.await.map_err(Error::cut)?);
        }
        match self {
            Answer::Begun(response) => Ok(response),
            Answer::Expected(_) => unreachable!("it has just begun"),
        }
    }
}

fn framed<M: Message>(messages: &[M]) -> Bytes {
    let mut frames = BytesMut::with_capacity(messages.iter().map(|message| HEAD + message.encoded_len()).sum());
    for message in messages {
        frames.put_u8(0);
        frames.put_u32(u32::try_from(message.encoded_len()).expect("no message has 4 GiB"));
        message.encode(&mut frames).expect("there is room for it");
    }
    frames.freeze()
}

/// Takes the first message, if it is complete.
fn unframed(received: &mut BytesMut) -> Result<Option<Bytes>, Error> {
    if received.len() < HEAD {
        return Ok(None);
    }
    let mut head = &received[..HEAD];
    if head.get_u8() != 0 {
        return Err(Error::cut("a message is compressed, which nobody has asked for"));
    }
    let length = head.get_u32() as usize;
    if received.len() - HEAD < length {
        // Room for all of it at once; a peer that lies about the length gets no memory for that.
        received.reserve(length.min(1 << 20));
        return Ok(None);
    }
    received.advance(HEAD);
    Ok(Some(received.split_to(length).freeze()))
}

/// Returns how a call has ended. A response without messages has its status in its head.
fn status(response: &Response<RecvStream>, trailers: Option<&HeaderMap>) -> Result<(), Error> {
    let fields = trailers.unwrap_or_else(|| response.headers());
    let text = |name: &str| fields.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    match std::str::from_utf8(text("grpc-status")).ok().and_then(|number| number.parse().ok()) {
        Some(0) => Ok(()),
        Some(number) => {
            let message = percent_decode(text("grpc-message")).decode_utf8_lossy().into_owned();
            Err(Error::from_status(number, message, &binary(text("grpc-status-details-bin"))))
        }
        None => Err(of_http(response.status())),
    }
}

/// Returns what a trailer holds whose name ends with `-bin`; nothing, if it is no base64.
fn binary(text: &[u8]) -> Vec<u8> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    base64::decode_config(&text[..text.len() - padding], base64::STANDARD_NO_PAD).unwrap_or_default()
}

/// Returns the error for an answer without a status: something before the gateway has answered in its place.
fn of_http(status: StatusCode) -> Error {
    let message = format!("something has answered in the place of the gateway: HTTP {}", status.as_u16());
    match status.as_u16() {
        401 => Error::new(Code::Unauthenticated, message),
        403 => Error::new(Code::PermissionDenied, message),
        404 => Error::new(Code::Unimplemented, message),
        _ => Error::cut(message),
    }
}
