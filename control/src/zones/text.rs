//! A zone as a master file that every server reads (RFC 1035 §5, RFC 3597 §5): a record a line, all owners absolute.
//! Types with a simple form are written in it, all others as octets, which is right for known types too. A comment at the
//! end has the checksum of what stands before it, so that damage to the file is noticed: a part of a zone is a zone, too.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use ringdns_shard::wire::name::{measure, write_presentation};
use ringdns_shard::zone::Image;
use ringdns_shard::zone::image::Record;

/// Lines are collected up to so many octets.
const CHUNK_OCTETS: usize = 1 << 16;

/// How the first line begins.
const FIRST: &str = "; The zone ";
/// How the last line begins; behind it stand eight hexadecimal digits and the end of the line.
const LAST: &str = "; CRC-32 ";
/// Octets of the last line.
const LAST_OCTETS: usize = LAST.len() + 9;

/// Writes the whole zone.
pub(crate) fn write(image: &Image, out: &mut dyn Write) -> io::Result<()> {
    let mut hasher = crc32fast::Hasher::new();
    let mut text =
        format!("{FIRST}{} as it was transferred. Kept by ringdns, which writes over changes.\n", image.apex());
    for record in image.each_record() {
        line(&record, &mut text).expect("a string takes every write");
        if text.len() >= CHUNK_OCTETS {
            hasher.update(text.as_bytes());
            out.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    hasher.update(text.as_bytes());
    out.write_all(text.as_bytes())?;
    writeln!(out, "{}", last_line(hasher))
}

fn last_line(hasher: crc32fast::Hasher) -> String {
    format!("{LAST}{:08x}", hasher.finalize())
}

/// Whether the text is as [`write`] left it. One that somebody else wrote has no checksum, and is taken as it is.
pub(crate) fn is_whole(text: &[u8]) -> bool {
    if !text.starts_with(FIRST.as_bytes()) {
        return true;
    }
    let Some((before, last)) = text.split_last_chunk::<LAST_OCTETS>() else { return false };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    last.strip_suffix(b"\n") == Some(last_line(hasher).as_bytes())
}

fn line(record: &Record<'_>, text: &mut String) -> fmt::Result {
    write_presentation(record.owner, text)?;
    write!(text, " {} IN ", record.ttl)?;
    let begin = text.len();
    if known(record, text).is_none() {
        text.truncate(begin);
        unknown(record, text)?;
    }
    text.push('\n');
    Ok(())
}

/// Octets of record data, taken from the front.
struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(octets)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn long(&mut self) -> Option<u32> {
        self.take(4).map(|octets| u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
    }

    /// A name, written behind a space.
    fn name(&mut self, text: &mut String) -> Option<()> {
        let name = self.take(measure(self.0)?)?;
        text.push(' ');
        write_presentation(name, text).ok()
    }
}

/// Type and data in the form that the type has; `None` where it has none here, or the data is not as it should be.
fn known(record: &Record<'_>, text: &mut String) -> Option<()> {
    let mut data = Data(record.data);
    match record.rtype {
        1 => {
            let octets: [u8; 4] = data.take(4)?.try_into().ok()?;
            write!(text, "A {}", Ipv4Addr::from(octets)).ok()?;
        }
        28 => {
            let octets: [u8; 16] = data.take(16)?.try_into().ok()?;
            write!(text, "AAAA {}", Ipv6Addr::from(octets)).ok()?;
        }
        2 | 5 | 12 | 39 => {
            text.push_str(match record.rtype {
                2 => "NS",
                5 => "CNAME",
                12 => "PTR",
                _ => "DNAME",
            });
            data.name(text)?;
        }
        6 => {
            text.push_str("SOA");
            data.name(text)?;
            data.name(text)?;
            for _ in 0..5 {
                write!(text, " {}", data.long()?).ok()?;
            }
        }
        15 => {
            write!(text, "MX {}", data.number()?).ok()?;
            data.name(text)?;
        }
        33 => {
            write!(text, "SRV {} {} {}", data.number()?, data.number()?, data.number()?).ok()?;
            data.name(text)?;
        }
        16 => {
            text.push_str("TXT");
            // Without a string it has no text.
            data.0.first()?;
            while let Some(octets) = data.take(1) {
                string(data.take(usize::from(octets[0]))?, text);
            }
        }
        _ => return None,
    }
    data.0.is_empty().then_some(())
}

/// A character string between quotation marks.
fn string(octets: &[u8], text: &mut String) {
    text.push_str(" \"");
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => write!(text, "\\{octet:03}").expect("a string takes every write"),
        }
    }
    text.push('"');
}

/// Type and data as RFC 3597 writes what it does not know.
fn unknown(record: &Record<'_>, text: &mut String) -> fmt::Result {
    write!(text, "TYPE{} \\# {}", record.rtype, record.data.len())?;
    if !record.data.is_empty() {
        text.push(' ');
    }
    record.data.iter().try_for_each(|octet| write!(text, "{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use ringdns_shard::wire::name::{HashKey, Name};
    use ringdns_shard::zone::{Builder, Place, file};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn read(apex: &str, text: &[u8]) -> Image {
        let apex = name(apex);
        let mut builder = Builder::new(apex.clone(), HashKey::from_seed([7; 16]));
        let mut take =
            |record: file::Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
        let mut open = |_: &str, _: &str| Err("nothing is included".to_owned());
        file::read(&apex, "zone", text, &mut open, &mut take).unwrap();
        builder.finish().unwrap()
    }

    fn written(image: &Image) -> String {
        let mut text = Vec::new();
        write(image, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn same(a: &Image, b: &Image) {
        assert!(a.each_record().eq(b.each_record()));
    }

    const ZONE: &str = "$TTL 60\n@ SOA ns h 7 6 5 4 3\n@ NS ns\n@ MX 10 mail\n@ TXT \"a b\" \"\\\"\\\\\\200\" \"\"\n\
        @ CAA 0 issue \"ca.test\"\nns A 192.0.2.1\nns AAAA 2001:db8::1\n* CNAME www\nd DNAME e.test.\n\
        _s._tcp 5 SRV 1 2 3 ns\n4 PTR www\nh HTTPS 1 . alpn=h2\nwww LOC 52 22 23.000 N 4 53 32.000 E -2.00m\n\
        x TYPE65280 \\# 3 010203\ne TYPE65281 \\# 0\nsub NS ns.sub\nns.sub A 192.0.2.2\nsub DS 1 13 2 \
        0000000000000000000000000000000000000000000000000000000000000000\n\\000\\@\\.\\; A 192.0.2.9\n";

    #[test]
    fn what_is_written_reads_back_as_the_same_zone() {
        let image = read("a.test", ZONE.as_bytes());
        let text = written(&image);
        same(&image, &read("a.test", text.as_bytes()));
        for line in [
            "a.test. 60 IN SOA ns.a.test. h.a.test. 7 6 5 4 3",
            "a.test. 60 IN TXT \"a b\" \"\\\"\\\\\\200\" \"\"",
            "_s._tcp.a.test. 5 IN SRV 1 2 3 ns.a.test.",
            "x.a.test. 60 IN TYPE65280 \\# 3 010203",
            "e.a.test. 60 IN TYPE65281 \\# 0",
            "\\000\\@\\.\\;.a.test. 60 IN A 192.0.2.9",
        ] {
            assert!(text.lines().any(|found| found == line), "lacks {line}:\n{text}");
        }
        assert!(text.lines().nth(1).unwrap().contains(" SOA "), "the SOA comes first");
    }

    #[test]
    fn the_root_zone_is_written_too() {
        let image = read(".", b". 60 SOA . . 1 2 3 4 5\n. 60 NS a.\na. 60 NS b.\n");
        same(&image, &read(".", written(&image).as_bytes()));
    }

    #[test]
    fn every_octet_and_every_type_reads_back() {
        let apex = name("a.test");
        let mut builder = Builder::new(apex.clone(), HashKey::from_seed([7; 16]));
        let place = Place::default();
        let mut push = |label: &[u8], rtype: u16, data: &[u8]| {
            let owner = [&[label.len() as u8], label, apex.as_wire()].concat();
            builder.push(if label.is_empty() { apex.as_wire() } else { &owner }, rtype, 0x7fff_ffff, data, place)
        };
        push(&[], 6, &[&[0, 0][..], &[0xff; 20]].concat()).unwrap();
        push(&[], 2, &[0]).unwrap();
        for octet in 0..=255_u8 {
            for label in [vec![octet], vec![octet; 63], vec![b'x', octet], vec![octet, b'0', b'1', b'2']] {
                let wire = [&[label.len() as u8], &*label, &[0]].concat();
                // The label of an owner, of a target, and a string.
                push(&label, 15, &[&[0xff, 0xff], &*wire].concat()).unwrap();
                push(&label, 16, &[&[label.len() as u8], &*label, &[0], &[1, octet]].concat()).unwrap();
            }
        }
        for word in ["$ttl", "$origin", "$include", "$generate", "@", "in", "60", "txt", "\\#", "#", "*"] {
            push(word.as_bytes(), 1, &[0, 0, 0, 0]).unwrap();
        }
        // Of each type that a zone may have beside others; what is malformed is refused here.
        for rtype in (1..=300).filter(|&rtype| rtype != 5).chain([u16::MAX]) {
            for data in [&[][..], &[0], &[0; 36], &[0xff; 36], &[1; 200]] {
                let _ = push(b"types", rtype, data);
            }
        }
        push(b"long", 16, &[&[255_u8][..], &[b'"'; 255]].concat().repeat(255)).unwrap();
        push(b"long", 65_280, &[0xab; 65_535]).unwrap();
        push(b"address", 28, &[&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1]].concat()).unwrap();
        let image = builder.finish().unwrap();
        let mut builder = Builder::new(name("a.test"), HashKey::from_seed([7; 16]));
        let mut take =
            |record: file::Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
        file::read_copy(&name("a.test"), written(&image).as_bytes(), &mut take).unwrap();
        same(&image, &builder.finish().unwrap());
    }

    #[test]
    fn data_that_its_type_does_not_have_is_written_as_octets() {
        let apex = name("a.test");
        let mut builder = Builder::new(apex.clone(), HashKey::from_seed([7; 16]));
        let owner = apex.as_wire();
        let soa = [&[0, 0][..], &[0; 20]].concat();
        let place = Place::default();
        builder.push(owner, 6, 1, &soa, place).unwrap();
        builder.push(owner, 2, 1, &[0], place).unwrap();
        // No string, one that is cut off.
        builder.push(owner, 16, 1, &[], place).unwrap();
        builder.push(owner, 16, 1, &[5, b'a'], place).unwrap();
        let image = builder.finish().unwrap();
        let text = written(&image);
        assert!(text.contains("a.test. 1 IN TYPE16 \\# 0\n") && text.contains("TYPE16 \\# 2 0561\n"), "{text}");
    }
}
