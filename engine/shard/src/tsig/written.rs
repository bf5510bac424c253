//! Messages that are written already, as `domain` takes them to sign them.

use domain::base::{MessageBuilder, message_builder::AdditionalBuilder, wire::Composer};
use domain::dep::octseq::{OctetsBuilder, ShortBuf, Truncate};

use super::Key;
use crate::wire::message::HEADER_OCTETS;

/// Has `domain` add a TSIG record to the message in the first `octets` of `buffer`.
pub(super) fn add<'b, R>(
    buffer: &'b mut [u8],
    octets: usize,
    sign: impl FnOnce(&mut AdditionalBuilder<Written<'b>>) -> Option<R>,
) -> Option<(R, usize)> {
    if octets < HEADER_OCTETS || octets > buffer.len() {
        return None;
    }
    let builder = MessageBuilder::from_target(Written { buffer, octets, begun: false }).ok()?;
    let mut message = builder.additional();
    let signed = sign(&mut message)?;
    Some((signed, message.finish().octets))
}

/// As [`add`], to a request of ours.
pub(super) fn add_to_vec<R>(
    key: &Key,
    request: &mut Vec<u8>,
    sign: impl for<'b> FnOnce(&mut AdditionalBuilder<Written<'b>>) -> Option<R>,
) -> R {
    let octets = request.len();
    request.resize(octets + key.record_octets(), 0);
    let (signed, end) = add(request, octets, sign).expect("a request of ours has a header, and room was made");
    request.truncate(end);
    signed
}

/// A message that stands in a buffer already, as a target of the builders of `domain`. They begin by emptying their
/// target and writing a header of zeros, which is passed over here; what they write from then on goes behind the message.
pub(super) struct Written<'b> {
    buffer: &'b mut [u8],
    octets: usize,
    begun: bool,
}

impl OctetsBuilder for Written<'_> {
    type AppendError = ShortBuf;

    fn append_slice(&mut self, slice: &[u8]) -> Result<(), ShortBuf> {
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let end = self.octets + slice.len();
        self.buffer.get_mut(self.octets..end).ok_or(ShortBuf)?.copy_from_slice(slice);
        self.octets = end;
        Ok(())
    }
}

impl Truncate for Written<'_> {
    fn truncate(&mut self, octets: usize) {
        if self.begun {
            self.octets = self.octets.min(octets);
        }
    }
}

impl AsRef<[u8]> for Written<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.octets]
    }
}

impl AsMut<[u8]> for Written<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.octets]
    }
}

impl Composer for Written<'_> {}
