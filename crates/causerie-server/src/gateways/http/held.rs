//! What an answer holds while it is read: charged to the connection until the last of it is written or it is given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use causerie_core::log::page::{Entries, Entry, PageError};
use futures_util::{StreamExt, stream};
use hyper::body::{Frame, SizeHint};

use super::extract::HttpConnection;
use crate::net::addresses::Visitor;
use crate::net::memory::Charge;

/// Bytes of JSON that are made at once, and of what is short enough to be made as a whole.
const PIECE: usize = 16 << 10;
const WHOLE: usize = 64 << 10;

/// A body, and what it is charged with.
struct ChargedBody {
    body: Body,
    charge: Arc<Charge>,
    bytes: usize,
}

/// This body, charged with so many bytes while it is there.
pub(super) fn held(body: Body, charge: &Arc<Charge>, bytes: usize) -> Body {
    charge.add(bytes);
    Body::new(ChargedBody { body, charge: Arc::clone(charge), bytes })
}

/// This body, charged with its own length, if it has one.
pub(super) fn whole(body: Body, visitor: &Visitor, charge: &Arc<Charge>) -> Body {
    match HttpBody::size_hint(&body).exact().and_then(|bytes| usize::try_from(bytes).ok()) {
        None | Some(0) => body,
        Some(bytes) => {
            visitor.made(bytes);
            held(body, charge, bytes)
        }
    }
}

/// The entries of a page as JSON behind `start`, with `between` between them and `end` behind them. What is long is made as
/// the client takes it, in turns, and charged with so many bytes until then.
pub(super) fn entries(
    start: String,
    entries: Entries,
    render: impl Fn(&Entry) -> String + Send + 'static,
    (between, end): (&'static str, &'static str),
    (connection, bytes): (&HttpConnection, usize),
) -> Body {
    let mut pieces = EntryPieces { entries, render, between, end, is_first: true };
    // What fits is sent with its length, which is easier to read.
    let (first, is_whole) = match pieces.next(start, WHOLE) {
        Ok(piece) => piece,
        Err(error) => return Body::from_stream(stream::iter([Err::<Bytes, _>(error)])),
    };
    if is_whole {
        return Body::from(first);
    }
    connection.visitor.made(first.len());
    let first = stream::iter([Ok(Bytes::from(first))]);
    let visitor = Arc::clone(&connection.visitor);
    let rest = stream::unfold(Some(pieces), move |pieces| {
        let visitor = Arc::clone(&visitor);
        async move {
            let mut pieces = pieces?;
            let _turn = visitor.turn().await;
            Some(match pieces.next(String::new(), PIECE) {
                Ok((piece, is_last)) => {
                    visitor.made(piece.len());
                    (Ok(Bytes::from(piece)), (!is_last).then_some(pieces))
                }
                // Our own page: it can be read.
                Err(error) => (Err(error), None),
            })
        }
    });
    held(Body::from_stream(first.chain(rest)), &connection.charge, bytes + WHOLE)
}

struct EntryPieces<R> {
    entries: Entries,
    render: R,
    between: &'static str,
    end: &'static str,
    is_first: bool,
}

impl<R: Fn(&Entry) -> String> EntryPieces<R> {
    /// The next piece behind `piece`, of some `bytes`, and whether it is the last.
    fn next(&mut self, mut piece: String, bytes: usize) -> Result<(String, bool), PageError> {
        while piece.len() < bytes {
            let Some(entry) = self.entries.next().transpose()? else {
                return Ok((piece + self.end, true));
            };
            if !std::mem::take(&mut self.is_first) {
                piece += self.between;
            }
            piece += &(self.render)(&entry);
        }
        Ok((piece, false))
    }
}

impl HttpBody for ChargedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ChargedBody {
    fn drop(&mut self) {
        self.charge.sub(self.bytes);
    }
}
