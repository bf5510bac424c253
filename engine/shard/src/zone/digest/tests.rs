use super::*;
use crate::wire::name::{HashKey, Name};
use crate::zone::Builder;

/// The image of a master file.
fn zone(apex: &str, text: &str) -> Image {
    let apex: Name = apex.parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    let mut include = |_: &str, _: &str| Err("no file".to_owned());
    let mut take = |record: crate::zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    crate::zone::file::read(&apex, "zone", text.as_bytes(), &mut include, &mut take).unwrap();
    builder.finish().unwrap()
}

/// The apex of the zones in RFC 8976 appendices A.1 to A.3, but for the digests.
const APEX: &str = "@ 86400 SOA ns1 admin 2018031900 1800 900 604800 86400\n@ 86400 NS ns1\n@ 86400 NS ns2\n";

/// A.1.
const SIMPLE_ZONE: &str = "ns1 3600 A 203.0.113.63\nns2 3600 AAAA 2001:db8::63\n";
const SIMPLE_DIGEST: &str =
    "c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c";

/// A.2, but for the record outside of the zone, which the builder refuses.
const COMPLEX_ZONE: &str = r#"
ns1 3600 A 203.0.113.63
NS2 3600 AAAA 2001:db8::63
occluded.sub 7200 TXT "I'm occluded but must be digested"
sub 7200 NS ns1
duplicate 300 TXT "I must be digested just once"
duplicate 300 TXT "I must be digested just once"
UPPERCASE 3600 TXT "canonicalize uppercase owner names"
* 777 PTR dont-forget-about-wildcards
mail 3600 MX 20 MAIL1
mail 3600 MX 10 Mail2.Example.
sortme 3600 AAAA 2001:db8::5:61
sortme 3600 AAAA 2001:db8::3:62
sortme 3600 AAAA 2001:db8::4:63
sortme 3600 AAAA 2001:db8::1:65
sortme 3600 AAAA 2001:db8::2:64
non-apex 900 ZONEMD 2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
"#;
const COMPLEX_DIGEST: &str =
    "a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe";

/// A.3.
const MULTIPLE_ZONE: &str = "ns1 3600 A 203.0.113.63\nns2 86400 TXT \"This example has multiple digests\"\n\
                             NS2 3600 AAAA 2001:db8::63\n";
const MULTIPLE_384: &str =
    "62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306";
const MULTIPLE_512: &str = "08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a\
                            4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27";

/// What is said of the zone of appendix A with these records, and these digests: serial, scheme, hash, hexadecimal.
fn said(records: &str, digests: &[&str]) -> Result<Verified, Wrong> {
    let digests: String = digests.iter().map(|digest| format!("@ 86400 ZONEMD {digest}\n")).collect();
    verify(&zone("example", &format!("{APEX}{records}{digests}")))
}

fn of(algorithm: u8, digest: &str) -> String {
    format!("2018031900 1 {algorithm} {digest}")
}

#[test]
fn the_zones_of_the_rfc_have_their_digests() {
    assert_eq!(said(SIMPLE_ZONE, &[]), Ok(Verified::Absent));
    for (records, algorithm, digest, good) in [
        (SIMPLE_ZONE, 1, SIMPLE_DIGEST, Algorithm::Sha384),
        (COMPLEX_ZONE, 1, COMPLEX_DIGEST, Algorithm::Sha384),
        (MULTIPLE_ZONE, 1, MULTIPLE_384, Algorithm::Sha384),
        (MULTIPLE_ZONE, 2, MULTIPLE_512, Algorithm::Sha512),
    ] {
        assert_eq!(said(records, &[&of(algorithm, digest)]), Ok(Verified::Good(good)));
        let other = if digest.starts_with('0') { "1" } else { "0" };
        let message = said(records, &[&of(algorithm, &format!("{other}{}", &digest[1..]))]).unwrap_err().0;
        assert!(message.contains(&format!("{good} digest")), "{message}");
    }
}

#[test]
fn the_root_servers_have_their_digest() {
    // A.5.
    let mut text = "@ 3600000 SOA a nstld.verisign-grs.com. 2018091100 14400 7200 1209600 3600000\n".to_owned();
    for (letter, v6, v4) in [
        ("a", "2001:503:ba3e::2:30", "198.41.0.4"),
        ("b", "2001:500:200::b", "199.9.14.201"),
        ("c", "2001:500:2::c", "192.33.4.12"),
        ("d", "2001:500:2d::d", "199.7.91.13"),
        ("e", "2001:500:a8::e", "192.203.230.10"),
        ("f", "2001:500:2f::f", "192.5.5.241"),
        ("g", "2001:500:12::d0d", "192.112.36.4"),
        ("h", "2001:500:1::53", "198.97.190.53"),
        ("i", "2001:7fe::53", "192.36.148.17"),
        ("j", "2001:503:c27::2:30", "192.58.128.30"),
        ("k", "2001:7fd::1", "193.0.14.129"),
        ("l", "2001:500:9f::42", "199.7.83.42"),
        ("m", "2001:dc3::35", "202.12.27.33"),
    ] {
        text += &format!("@ 3600000 NS {letter}\n{letter} 3600000 AAAA {v6}\n{letter} 3600000 A {v4}\n");
    }
    text += "b 3600000 MX 20 mail.isi.edu.\ni 3600000 MX 10 mx.i.root-servers.org.\n@ 3600000 ZONEMD 2018091100 1 1 \
             f1ca0ccd91bd5573d9f431c00ee0101b2545c97602be0a978a3b11dbfc1c776d5b3e86ae3d973d6b5349ba7f04340f79\n";
    assert_eq!(verify(&zone("root-servers.net", &text)), Ok(Verified::Good(Algorithm::Sha384)));
    let message = verify(&zone("root-servers.net", &text.replace("198.41.0.4", "198.41.0.5"))).unwrap_err().0;
    assert_eq!(message, "the SHA-384 digest of the ZONEMD is not that of the zone");
}

#[test]
fn of_several_digests_one_must_be_right() {
    let (good, bad) = (of(2, MULTIPLE_512), of(1, &"ab".repeat(48)));
    assert_eq!(said(MULTIPLE_ZONE, &[&bad, &good]), Ok(Verified::Good(Algorithm::Sha512)));
    let unknown =
        ["2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee", "2018031900 241 1 e1846540e33a9e4189792d18d5d131f6"];
    assert_eq!(said(MULTIPLE_ZONE, &unknown), Ok(Verified::Unsupported));
    assert_eq!(said(MULTIPLE_ZONE, &[unknown[0], unknown[1], &good]), Ok(Verified::Good(Algorithm::Sha512)));
    assert!(said(MULTIPLE_ZONE, &[unknown[0], &bad]).is_err());
}

#[test]
fn a_digest_of_another_serial_and_two_of_one_hash_are_wrong() {
    let message = said(SIMPLE_ZONE, &[&format!("2018031899 1 1 {SIMPLE_DIGEST}")]).unwrap_err().0;
    assert_eq!(message, "the ZONEMD is of serial 2018031899, the SOA has 2018031900");
    let message = said(SIMPLE_ZONE, &[&of(1, SIMPLE_DIGEST), &of(1, &"ab".repeat(48))]).unwrap_err().0;
    assert_eq!(message, "there is more than one ZONEMD with SHA-384");
    // A part of the digest is not the digest.
    assert!(said(SIMPLE_ZONE, &[&of(1, &SIMPLE_DIGEST[..48])]).is_err());
}

#[test]
fn names_in_data_are_folded_where_the_rfc_says_so() {
    let folded = |rtype: u16, data: &[u8]| {
        let mut data = data.to_vec();
        fold_names(rtype, &mut data);
        data
    };
    for (rtype, data, expected) in [
        (rtype::NS, &b"\x01A\x00"[..], &b"\x01a\x00"[..]),
        (rtype::SOA, b"\x01A\x00\x01B\x00AAAABBBBCCCCDDDDEEEE", b"\x01a\x00\x01b\x00AAAABBBBCCCCDDDDEEEE"),
        (rtype::PX, b"AA\x01A\x00\x01B\x00", b"AA\x01a\x00\x01b\x00"),
        (rtype::SRV, b"AABBCC\x01A\x00", b"AABBCC\x01a\x00"),
        (rtype::RRSIG, b"AABBCCCCDDDDEEEEFF\x01A\x00SIG", b"AABBCCCCDDDDEEEEFF\x01a\x00SIG"),
        (rtype::NAPTR, b"AABB\x01U\x02XY\x00\x01A\x00", b"AABB\x01U\x02XY\x00\x01a\x00"),
        (rtype::A6, b"\x80\x01A\x00", b"\x80\x01a\x00"),
        (rtype::A6, b"\x78X\x01A\x00", b"\x78X\x01a\x00"),
        (rtype::NXT, b"\x01A\x00B", b"\x01a\x00B"),
        // Not these.
        (rtype::NSEC, b"\x01A\x00\x00\x01\x40", b"\x01A\x00\x00\x01\x40"),
        (rtype::HTTPS, b"\x00\x01\x01A\x00", b"\x00\x01\x01A\x00"),
        (rtype::TXT, b"\x01A", b"\x01A"),
        // Data that ends early.
        (rtype::NAPTR, b"AABB\x05U", b"AABB\x05U"),
        (rtype::RRSIG, b"AA", b"AA"),
        (rtype::A6, b"", b""),
        (rtype::A6, b"\x00A", b"\x00A"),
    ] {
        assert_eq!(folded(rtype, data), expected, "{rtype}");
    }
}

#[test]
fn records_that_differ_in_case_alone_count_once() {
    let once = format!("{SIMPLE_ZONE}alias 60 MX 1 ns1\n");
    let twice = format!("{SIMPLE_ZONE}alias 60 MX 1 ns1\nalias 60 MX 1 NS1\n");
    let digest = |text: &str| digest(&zone("example", &format!("{APEX}{text}")), Algorithm::Sha384).as_ref().to_vec();
    assert_eq!(digest(&once), digest(&twice));
    assert_ne!(digest(&once), digest(SIMPLE_ZONE));
}
