//! Frame Streams, as far as one who sends needs it: control frames, and data frames about to be written.
//!
//! Everything begins with four octets of a length, in network order. A length of zero says that a control frame follows:
//! its own length, its type, and fields, each with type and length. There is one type of field, the content type.

/// What the frames hold: messages of dnstap.
pub(super) const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The longest control frame that anybody sends, counted behind its length.
pub(super) const CONTROL_OCTETS_MAX: usize = 512;
/// Octets before a control frame: the escape and the length.
pub(super) const PREFIX_OCTETS: usize = 8;

const CONTENT_TYPE_FIELD: u32 = 1;

/// Octets of memory that are kept from one batch to the next: enough for a chunk of ordinary messages.
const KEPT_OCTETS: usize = 1 << 20;

/// What a control frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Control {
    /// The reader takes what was offered.
    Accept = 1,
    /// Data follow.
    Start = 2,
    /// No more data.
    Stop = 3,
    /// The sender would send.
    Ready = 4,
    /// The reader has read everything.
    Finish = 5,
}

impl Control {
    /// The frame, with what the data are where the frame says that.
    pub(super) fn frame(self) -> Vec<u8> {
        let mut body = (self as u32).to_be_bytes().to_vec();
        if matches!(self, Control::Accept | Control::Start | Control::Ready) {
            body.extend(CONTENT_TYPE_FIELD.to_be_bytes());
            body.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
            body.extend(CONTENT_TYPE);
        }
        let mut frame = [[0; 4], (body.len() as u32).to_be_bytes()].concat();
        frame.extend(body);
        frame
    }
}

/// Octets of the control frame behind its `prefix`; the error says why there is none.
pub(super) fn control_octets(prefix: [u8; PREFIX_OCTETS]) -> Result<usize, &'static str> {
    let [escape, length] = [0, 4].map(|at| u32::from_be_bytes([0, 1, 2, 3].map(|octet| prefix[at + octet])));
    match length as usize {
        _ if escape != 0 => Err("it sends what is no control frame"),
        4..=CONTROL_OCTETS_MAX => Ok(length as usize),
        _ => Err("it sends a control frame of a length that none has"),
    }
}

/// Whether the control frame without its prefix is `wanted`, for data as we send them; the error says why not.
pub(super) fn check(body: &[u8], wanted: Control) -> Result<(), &'static str> {
    let malformed = "it sends a malformed control frame";
    let (kind, mut fields) = number(body).ok_or(malformed)?;
    if kind != wanted as u32 {
        return Err("it sends another control frame than the one that is due");
    }
    let (mut any, mut ours) = (false, false);
    while !fields.is_empty() {
        let (field, rest) = number(fields).ok_or(malformed)?;
        let (length, rest) = number(rest).ok_or(malformed)?;
        let (content, rest) = rest.split_at_checked(length as usize).ok_or(malformed)?;
        if field != CONTENT_TYPE_FIELD {
            return Err(malformed);
        }
        (any, ours, fields) = (true, ours || content == CONTENT_TYPE, rest);
    }
    // A reader that names no content type takes every one.
    if any && !ours { Err("it takes no messages of dnstap") } else { Ok(()) }
}

/// The number at the beginning, and what follows.
fn number(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = octets.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Data frames one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    octets: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Forgets the frames and keeps the memory, but for what was needed for once.
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.octets.shrink_to(KEPT_OCTETS);
        self.ends.clear();
    }

    /// Appends a frame, which `write` appends to what it is given.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.octets.len();
        self.octets.extend([0; 4]);
        write(&mut self.octets);
        let length = (self.octets.len() - at - 4) as u32;
        self.octets[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self.ends.push(self.octets.len());
    }

    /// The frames as they are sent.
    pub(super) fn as_octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many frames lie within the first `written` octets.
    pub(super) fn whole(&self, written: usize) -> u64 {
        self.ends.partition_point(|&end| end <= written) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(frame: &[u8]) -> &[u8] {
        let length = control_octets(frame[..PREFIX_OCTETS].try_into().unwrap()).unwrap();
        assert_eq!(frame.len(), PREFIX_OCTETS + length);
        &frame[PREFIX_OCTETS..]
    }

    #[test]
    fn control_frames_are_as_others_have_them() {
        let ready = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
        assert_eq!(Control::Ready.frame(), ready);
        assert_eq!(Control::Stop.frame(), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
        for control in [Control::Accept, Control::Start, Control::Stop, Control::Ready, Control::Finish] {
            assert_eq!(check(body(&control.frame()), control), Ok(()));
            let other = if control == Control::Stop { Control::Finish } else { Control::Stop };
            assert!(check(body(&control.frame()), other).is_err());
        }
    }

    #[test]
    fn a_reader_must_take_messages_of_dnstap() {
        let accept = |contents: &[&[u8]]| {
            let mut body = 1_u32.to_be_bytes().to_vec();
            for content in contents {
                body.extend([1_u32.to_be_bytes(), (content.len() as u32).to_be_bytes()].concat());
                body.extend(*content);
            }
            check(&body, Control::Accept)
        };
        assert_eq!(accept(&[]), Ok(()));
        assert_eq!(accept(&[b"other", CONTENT_TYPE]), Ok(()));
        assert!(accept(&[b"other"]).unwrap_err().contains("no messages of dnstap"));
    }

    #[test]
    fn octets_that_are_no_control_frame_are_told() {
        let whole = Control::Accept.frame();
        for cut in PREFIX_OCTETS..whole.len() {
            let is_whole_without_field = cut == PREFIX_OCTETS + 4;
            assert_eq!(check(&whole[PREFIX_OCTETS..cut], Control::Accept).is_ok(), is_whole_without_field, "{cut}");
        }
        assert!(check(b"\0\0\0\x01\0\0\0\x02\0\0\0\0", Control::Accept).is_err(), "a field of another type");
        assert!(check(b"\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff", Control::Accept).is_err(), "a field beyond the end");
        let octets = |escape: u32, length: u32| {
            control_octets([escape.to_be_bytes(), length.to_be_bytes()].concat().try_into().unwrap())
        };
        assert_eq!((octets(0, 4), octets(0, 512)), (Ok(4), Ok(512)));
        for (escape, length) in [(1, 4), (0, 3), (0, 0), (0, 513), (0, u32::MAX)] {
            assert!(octets(escape, length).is_err(), "{escape} {length}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_too_much_for_it(octets in any::<Vec<u8>>(), prefix in any::<[u8; PREFIX_OCTETS]>()) {
            let _ = check(&octets, Control::Accept);
            if let Ok(octets) = control_octets(prefix) {
                prop_assert!((4..=CONTROL_OCTETS_MAX).contains(&octets));
            }
        }
    }

    #[test]
    fn frames_are_counted_once_they_are_whole() {
        let mut batch = Batch::default();
        batch.push(|out| out.extend(b"abc"));
        batch.push(|_| ());
        assert_eq!(batch.as_octets(), b"\0\0\0\x03abc\0\0\0\0");
        assert_eq!([0, 6, 7, 10, 11].map(|written| batch.whole(written)), [0, 0, 1, 1, 2]);
        batch.clear();
        assert_eq!((batch.as_octets().len(), batch.whole(11)), (0, 0));
    }

    #[test]
    fn memory_for_a_batch_that_was_long_for_once_is_given_back() {
        let mut batch = Batch::default();
        for octets in [1_000, 2 * KEPT_OCTETS] {
            batch.push(|out| out.resize(out.len() + octets, 7));
        }
        batch.clear();
        assert_eq!(batch.octets.capacity(), KEPT_OCTETS);
    }
}
