//! The records of a cached answer as lines of a master file.

use std::fmt::Write;

use domain::base::iana::{Class, OptRcode, Rtype};
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, ParsedName, ParsedRecord, ToName, UnknownRecordData};
use domain::rdata::AllRecordData;
use serde::Serialize;
use utoipa::ToSchema;

/// Records that are shown of an answer.
const RECORDS_MAX: usize = 200;
/// Characters of a record's data that are shown.
const DATA_MAX: usize = 4 << 10;

/// A record of an answer.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RecordView {
    /// `answer`, `authority` or `additional`.
    section: &'static str,
    /// The record as it stands in a master file; the TTL is what is left of it.
    #[schema(example = "www.example.test. 60 IN A 192.0.2.1")]
    text: String,
}

/// The type's mnemonic, or `TYPE…` (RFC 3597 §5).
pub(super) fn type_text(qtype: u16) -> String {
    Rtype::from_int(qtype).to_mnemonic_str().map_or_else(|| format!("TYPE{qtype}"), str::to_owned)
}

/// The response code's mnemonic, or `RCODE…`.
pub(super) fn rcode_text(rcode: u16) -> String {
    let known = OptRcode::masked_from_int(rcode).to_mnemonic_str();
    known.map_or_else(|| format!("RCODE{rcode}"), str::to_owned)
}

/// The first records of a message, as far as `room`, which is in octets and becomes less, is enough for their texts; and
/// the number of further ones. What does not parse, which no core keeps, ends them.
pub(super) fn shown(message: &[u8], room: &mut usize) -> (Vec<RecordView>, usize) {
    let mut shown = Vec::new();
    let mut left_out = 0;
    let Ok(message) = Message::from_slice(message) else { return (shown, left_out) };
    let Ok((_, answer, authority, additional)) = message.sections() else { return (shown, left_out) };
    for (title, section) in [("answer", answer), ("authority", authority), ("additional", additional)] {
        // The OPT record is no part of an answer.
        for record in section.map_while(Result::ok).filter(|record| record.rtype() != Rtype::OPT) {
            let text = (shown.len() < RECORDS_MAX && *room > 0).then(|| line(&record));
            match text {
                Some(text) if text.len() <= *room => {
                    *room -= text.len();
                    shown.push(RecordView { section: title, text });
                }
                // Nor is anything that follows: it would be made into text in vain.
                Some(_) => (*room, left_out) = (0, left_out + 1),
                None => left_out += 1,
            }
        }
    }
    (shown, left_out)
}

fn line(record: &ParsedRecord<'_, [u8]>) -> String {
    let class = match record.class() {
        Class::IN => "IN".to_owned(),
        class => format!("CLASS{}", class.to_int()),
    };
    let rtype = type_text(record.rtype().to_int());
    format!("{} {} {class} {rtype} {}", record.owner().fmt_with_dot(), record.ttl().as_secs(), data(record))
}

/// The data in the form of its type, or as octets (RFC 3597 §5) where it has none, does not parse, or would put anything
/// but printable ASCII there; cut where it is long.
fn data(record: &ParsedRecord<'_, [u8]>) -> String {
    let mut text = match record.to_any_record::<AllRecordData<&[u8], ParsedName<&[u8]>>>() {
        Ok(record) if !matches!(record.data(), AllRecordData::Unknown(_)) => {
            record.data().display_zonefile(DisplayKind::Simple).to_string()
        }
        _ => String::new(),
    };
    if !text.is_empty() && text.bytes().all(|octet| (0x20..0x7f).contains(&octet)) {
        if text.len() > DATA_MAX {
            text.truncate(DATA_MAX);
            text.push('…');
        }
        return text;
    }
    let Ok(Some(record)) = record.to_record::<UnknownRecordData<&[u8]>>() else { return "\\# 0".to_owned() };
    let data = record.data().data();
    let mut text = format!("\\# {}", data.len());
    for (index, octet) in data.iter().take(DATA_MAX / 2).enumerate() {
        let space = if index == 0 { " " } else { "" };
        write!(text, "{space}{octet:02x}").expect("a string takes every write");
    }
    if data.len() > DATA_MAX / 2 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply to `a.example.test. A` with these records, all in the answer section; names are written as they are.
    fn message(records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        message.extend_from_slice(b"\x01a\x07example\x04test\x00\x00\x01\x00\x01");
        for (rtype, data) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend(rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    fn texts(records: &[(u16, &[u8])]) -> Vec<String> {
        shown(&message(records), &mut usize::MAX.clone()).0.into_iter().map(|record| record.text).collect()
    }

    #[test]
    fn records_are_shown_as_master_files_have_them() {
        let shown = texts(&[
            (1, &[192, 0, 2, 1]),
            (5, &[0xc0, 14]),
            (15, b"\x00\x0a\x04mail\xc0\x0e"),
            (16, b"\x05a \"b\x07"),
            (65, b"\x00\x01\x00"),
            (65_280, &[1, 0xff]),
            (1, &[192, 0, 2]),
            (65_281, &[]),
        ]);
        assert_eq!(
            shown,
            [
                "a.example.test. 60 IN A 192.0.2.1",
                "a.example.test. 60 IN CNAME example.test.",
                "a.example.test. 60 IN MX 10 mail.example.test.",
                r#"a.example.test. 60 IN TXT "a \"b\007""#,
                "a.example.test. 60 IN HTTPS 1 .",
                "a.example.test. 60 IN TYPE65280 \\# 2 01ff",
                "a.example.test. 60 IN A \\# 3 c00002",
                "a.example.test. 60 IN TYPE65281 \\# 0",
            ]
        );
    }

    #[test]
    fn codes_and_types_have_their_names() {
        let rcodes = [0, 3, 5, 9, 16, 23, 24].map(rcode_text);
        assert_eq!(rcodes, ["NOERROR", "NXDOMAIN", "REFUSED", "NOTAUTH", "BADVERS", "BADCOOKIE", "RCODE24"]);
        assert_eq!([1, 65, 65_280].map(type_text), ["A", "HTTPS", "TYPE65280"]);
    }

    #[test]
    fn an_answer_of_many_records_is_cut_and_says_so() {
        let address: &[u8] = &[192, 0, 2, 1];
        let (records, left_out) = shown(&message(&[(1, address); RECORDS_MAX + 3]), &mut usize::MAX.clone());
        assert_eq!((records.len(), left_out), (RECORDS_MAX, 3));
        assert_eq!(shown(&[], &mut usize::MAX.clone()), (Vec::new(), 0));
    }

    #[test]
    fn records_have_as_much_room_as_there_is() {
        let address: &[u8] = &[192, 0, 2, 1];
        let whole = texts(&[(1, address)])[0].len();
        let mut room = 2 * whole + 1;
        let (records, left_out) = shown(&message(&[(1, address); 5]), &mut room);
        assert_eq!((records.len(), left_out, room), (2, 3, 0));
        assert_eq!(shown(&message(&[(1, address)]), &mut room), (Vec::new(), 1));
    }

    #[test]
    fn long_data_is_cut() {
        let (opaque, text) = (vec![0xab; 60_000], [&[255][..], &[b'a'; 255]].concat().repeat(20));
        for (rtype, data, cut) in
            [(65_280, &opaque[..], true), (65_280, &opaque[..DATA_MAX / 2], false), (16, &text[..], true)]
        {
            let shown = &texts(&[(rtype, data)])[0];
            assert_eq!(shown.ends_with('…'), cut, "{rtype} {}", data.len());
            assert!((DATA_MAX..DATA_MAX + 100).contains(&shown.len()), "{}", shown.len());
        }
    }

    proptest! {
        #[test]
        fn octets_of_any_kind_are_shown_in_printable_ascii(
            rtype in prop_oneof![0..300u16, any::<u16>()],
            data in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            for text in texts(&[(rtype, &data)]) {
                prop_assert!(text.bytes().all(|octet| (0x20..0x7f).contains(&octet)), "{text:?}");
            }
        }
    }
}
