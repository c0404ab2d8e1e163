//! A connection's bytes, in reads of any size: split the same wherever they are cut, and what decodes round-trips.
#![no_main]

use bytes::{Bytes, BytesMut};
use causerie_core::content::body::Body;
use causerie_core::log::page::{Entry, HistoryPage};
use causerie_core::wire::{ClientFrame, FrameError, ServerFrame, split_frame};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

type Frames = (Vec<(u8, Bytes)>, Option<FrameError>);

/// All frames of `data`, given in reads of `step` bytes, and the error at which the stream ends.
fn split(data: &[u8], step: usize) -> Frames {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for read in data.chunks(step) {
        buffer.extend_from_slice(read);
        loop {
            match split_frame(&mut buffer, LIMIT) {
                Ok(Some((kind, body))) => {
                    assert!(body.len() < LIMIT);
                    frames.push((kind, body));
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// The one frame that `bytes` are.
fn alone(bytes: &[u8]) -> (u8, Bytes) {
    let mut buffer = BytesMut::from(bytes);
    let frame = split_frame(&mut buffer, usize::MAX).expect("just written").expect("it is whole");
    assert!(buffer.is_empty());
    frame
}

fuzz_target!(|data: &[u8]| {
    let Some((&step, data)) = data.split_first() else { return };
    let (frames, end) = split(data, data.len().max(1));
    assert_eq!(split(data, usize::from(step) + 1), (frames.clone(), end), "wherever reads are cut");
    for (kind, body) in frames {
        if let Ok(Some(frame)) = ClientFrame::decode(kind, &body) {
            let mut out = Vec::new();
            frame.encode(&mut out);
            let (kind, body) = alone(&out);
            let again = ClientFrame::decode(kind, &body);
            assert_eq!(again, Ok(Some(frame)));
        }
        if let Ok(Some(frame)) = ServerFrame::decode(kind, &body) {
            if let ServerFrame::Page(page) = &frame
                && let Ok(read) = HistoryPage::read(page)
            {
                let covers = |entry: &Entry| match entry {
                    Entry::Record(_) => 1,
                    Entry::Gap { from, to, .. } => *to - *from + 1,
                };
                assert_eq!(read.entries.iter().map(covers).sum::<u64>(), page.to + 1 - page.from);
            }
            let mut out = Vec::new();
            frame.encode(&mut out);
            let (kind, body) = alone(&out);
            let again = ServerFrame::decode(kind, &body);
            assert_eq!(again, Ok(Some(frame)));
        }
        let said = Body::decode(&body);
        // What is not known, or malformed, is passed on unharmed; of the known what stands behind it is ignored.
        match &said {
            Body::Unknown(bytes) => assert_eq!(bytes, &body),
            said => assert_eq!(&Body::decode(&said.encode().into()), said),
        }
    }
});
