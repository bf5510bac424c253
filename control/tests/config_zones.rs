//! Keys, transfers, catalogs and response rate limiting in the configuration file: their mistakes, and their values.

use std::path::Path;

use ringdns_control::config::{self, Algorithm, Faults, Origin, Settings, ZoneFile};
use ringdns_shard::wire::name::Name;

fn parse(text: &str) -> Result<Settings, Faults> {
    config::parse("ringdns.toml", text, Path::new("/etc/ringdns"))
}

fn well(text: &str) -> Settings {
    parse(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn name(text: &str) -> Name {
    text.parse().expect("a name of ours parses")
}

/// Base64 of `transfer-secret!`, 16 octets.
const SECRET: &str = "dHJhbnNmZXItc2VjcmV0IQ==";

/// Four lines: the key `k.`.
const KEY: &str = "[[key]]\nname = \"k.\"\nsecret = \"dHJhbnNmZXItc2VjcmV0IQ==\"\n\n";

/// A file, and of each mistake in it the line, the column and a part of the message.
type Case = (&'static str, &'static [(u32, u32, &'static str)]);

fn compare(before: &str, cases: &[Case]) {
    let mut differing = String::new();
    for (text, expected) in cases {
        let text = format!("{before}{text}");
        let list = parse(&text).err().map(|faults| faults.list).unwrap_or_default();
        let same = list.len() == expected.len()
            && list.iter().zip(*expected).all(|(fault, (line, column, part))| {
                (fault.place.line, fault.place.column) == (*line, *column) && fault.message.contains(part)
            });
        if !same {
            differing.push_str(&format!("{text}\nfound {list:#?}\nexpected {expected:#?}\n"));
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn mistakes_in_keys_are_named() {
    compare(
        "",
        &[
            ("[[key]]\nsecret = \"\"\n", &[(1, 1, "[[key]] lacks `name`")]),
            ("\n[[key]]\nname = \"k\"\n", &[(2, 1, "the key `k.` lacks a secret; give `secret` or `secret_file`")]),
            (
                "[[key]]\nname = \"k\"\nsecret = \"AAAA\"\n",
                &[(3, 10, "`secret` in [[key]]: found a secret of 3 octets; accepted: base64 of 10 to 1024 octets")],
            ),
            (
                "[[key]]\nname = \"k\"\nsecret = \"dHJhbnNmZXItc2VjcmV0IQ==\"\nalgorithm = \"hmac-md5\"\n",
                &[(
                    4,
                    13,
                    "found the string `\"hmac-md5\"`; accepted: \"hmac-sha1\", \"hmac-sha256\", \"hmac-sha384\", \"hmac-sha512\"",
                )],
            ),
            ("[[key]]\nname = \"k\"\nsecret = \"(hidden)\"\n", &[(3, 10, "where `ringdns config` hid a secret")]),
            (
                "[[key]]\nname = \"k\"\nsecret_file = \"a\\u0000\"\n",
                &[(3, 15, "accepted: the path of a file with base64")],
            ),
            (
                "[[key]]\nname = \"k\"\nsecret_file = \"none\"\n",
                &[(3, 15, "`secret_file` in [[key]]: /etc/ringdns/none cannot be read: ")],
            ),
            ("[[key]]\nname = \"k\"\nsecret_file = \"/dev/zero\"\n", &[(3, 15, "it is not a regular file")]),
        ],
    );
    compare(
        KEY,
        &[(
            "[[key]]\nname = \"K\"\nsecret = \"dHJhbnNmZXItc2VjcmV0IQ==\"\n",
            &[(6, 8, "another [[key]] has the name `k.` already")],
        )],
    );
}

#[test]
fn secrets_have_their_bounds() {
    let of = |octets: usize| {
        let secret = domain::utils::base64::encode_string(&vec![7; octets]);
        parse(&format!("[[key]]\nname = \"k\"\nsecret = \"{secret}\"\n"))
    };
    for octets in [10, 11, 1024] {
        assert_eq!(of(octets).expect("it is long enough").key[0].octets(), vec![7; octets]);
    }
    for octets in [9, 1025] {
        assert!(of(octets).expect_err("out of bounds").to_string().contains(&format!("a secret of {octets} octets")));
    }
}

#[test]
fn no_message_repeats_a_secret() {
    for secret in ["\"swordfish!\"", "\"dHJhbnNmZXItc2VjcmV0IQ\"", "\"c3dvcmRmaXNo\"", "8675309", "[\"swordfish\"]"] {
        let faults =
            parse(&format!("[[key]]\nname = \"k\"\nsecret = {secret}\n")).expect_err("no good secret").to_string();
        for word in ["swordfish", "dHJhb", "c3dvcm", "8675309"] {
            assert!(!faults.contains(word), "{faults}");
        }
        assert!(faults.contains(":3:10: `secret` in [[key]]: "), "{faults}");
    }
}

#[test]
fn a_printed_configuration_has_no_secret_and_says_so() {
    let settings = well(KEY);
    let printed = settings.to_toml();
    assert!(printed.contains("secret = \"(hidden)\" # secrets are not printed\nsecret_file = \"\"\n"), "{printed}");
    assert!(!printed.contains("dHJhb") && !format!("{settings:?}").contains("116"), "the octets are shown");
    let faults = parse(&printed).expect_err("the secret is missing").to_string();
    assert!(faults.contains("`ringdns config` hid a secret; write the secret, or name a `secret_file`"), "{faults}");
}

#[test]
fn a_secret_in_a_file_is_read_with_the_settings() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("k.secret");
    let text = "[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha512\"\nsecret_file = \"k.secret\"\n";
    let read = || config::parse("r.toml", text, folder.path());
    std::fs::write(&path, format!(" \n{SECRET}\n\n")).expect("the file can be written");
    let settings = read().unwrap_or_else(|faults| panic!("{faults}"));
    let key = &settings.key[0];
    assert_eq!((key.octets(), *key.algorithm), (&b"transfer-secret!"[..], Algorithm::HmacSha512));
    let printed = settings.to_toml();
    assert!(!printed.contains("dHJhb") && printed.contains(&path.display().to_string()), "{printed}");
    assert_eq!(config::parse("printed", &printed, Path::new("/")), Ok(settings));
    for (content, part) in [
        ("", "found a secret of 0 octets"),
        ("AA AA", "is no base64"),
        ("Ä", "is no base64"),
        (&"A".repeat(4097), "it is longer than 4096 octets"),
    ] {
        std::fs::write(&path, content).expect("the file can be written");
        let faults = read().expect_err(part).to_string();
        assert!(faults.contains(":4:15: ") && faults.contains(part), "{faults}");
    }
    std::fs::write(&path, b"\xff\xfe").expect("the file can be written");
    assert!(read().expect_err("no text").to_string().contains("cannot be read"));
    std::fs::write(&path, SECRET).expect("the file can be written");
    let both = format!("{text}secret = \"{SECRET}\"\n");
    let faults = config::parse("r.toml", &both, folder.path()).expect_err("two secrets").to_string();
    assert_eq!(faults, "r.toml:5:10: the key `k.` has a `secret` and a `secret_file`; remove one");
}

#[test]
fn mistakes_in_peers_and_networks_are_named() {
    compare(
        KEY,
        &[
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1\", \"ns.example:53\", \"192.0.2.1:0\", \"0.0.0.0:53\", \"\", 53]\n",
                &[
                    (
                        7,
                        14,
                        "`primaries` in [[zone]]: found the string `\"192.0.2.1\"`; accepted: an IP address with a port",
                    ),
                    (7, 27, "accepted: an IP address with a port"),
                    (7, 44, "\" key=NAME\" behind it the name of a [[key]]"),
                    (7, 59, "accepted: "),
                    (7, 73, "accepted: "),
                    (7, 77, "found the number `53`; accepted: "),
                ],
            ),
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53 key=j\"]\n",
                &[(7, 14, "`primaries` in [[zone]]: no [[key]] has the name `j.` (did you mean `k.`?)")],
            ),
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53 k\", \"192.0.2.2:53 key=a..b\", \"key=k\", \"192.0.2.3:53 key=k key=k\"]\n",
                &[
                    (7, 14, "found the string"),
                    (7, 32, "\"a..b\" is no domain name: a label is empty"),
                    (7, 57, "found the string `\"key=k\"`"),
                    (7, 66, "found the string"),
                ],
            ),
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\nnotify = [\"192.0.2.1:53\", \"192.0.2.1:53\", \"127.0.0.1:5300\"]\n",
                &[(8, 27, "\"192.0.2.1:53\" stands in the list twice")],
            ),
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\nnotify = [\"127.0.0.1:5300\", \"192.0.2.1:53 key=other\"]\n",
                &[
                    (8, 11, "`notify` in [[zone]]: 127.0.0.1:5300 is where this server listens itself"),
                    (8, 29, "`notify` in [[zone]]: no [[key]] has the name `other.`"),
                ],
            ),
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"127.0.0.1:5300\"]\n",
                &[(7, 14, "`primaries` in [[zone]]: 127.0.0.1:5300 is where this server listens itself")],
            ),
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\nallow_transfer = [\"192.0.2.1/24\", \"key=x\", \"key=\", \"192.0.2.0/24 192.0.2.0/24\", \"\"]\n",
                &[
                    (8, 19, "bits set beyond the prefix length"),
                    (8, 44, "\"\" is no domain name"),
                    (8, 52, "or \"key=NAME\" with the name of a [[key]], or both as \"192.0.2.0/24 key=NAME\""),
                    (8, 81, "found the string `\"\"`"),
                ],
            ),
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\nallow_transfer = [\"key=x\", \"key=k\"]\n",
                &[(8, 19, "`allow_transfer` in [[zone]]: no [[key]] has the name `x.`")],
            ),
        ],
    );
}

#[test]
fn there_are_only_so_many_peers_of_a_zone() {
    let list = |count: u32| (1..=count).map(|host| format!("\"192.0.2.{host}:53\"")).collect::<Vec<_>>().join(", ");
    let nets = |count: u32| (1..=count).map(|host| format!("\"192.0.2.{host}\"")).collect::<Vec<_>>().join(", ");
    let zone = |key: &str, items: String| parse(&format!("[[zone]]\nname = \"a\"\nfile = \"z\"\n{key} = [{items}]\n"));
    for (key, max, items) in
        [("primaries", 16, &list as &dyn Fn(u32) -> String), ("notify", 64, &list), ("allow_transfer", 64, &nets)]
    {
        assert!(zone(key, items(max)).is_ok(), "{key}");
        let faults = zone(key, items(max + 1)).expect_err("one too many").to_string();
        assert!(
            faults.contains(&format!("`{key}` in [[zone]]: found {} items; accepted: a list of 0 to {max}", max + 1)),
            "{faults}"
        );
    }
}

#[test]
fn contradictions_between_zones_are_named_with_the_mend() {
    compare(
        "",
        &[
            // Files and where they are read.
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53\"]\nfile = \"builtin:demonstration\"\n",
                &[(4, 8, "no copy can be kept in the demonstration zone")],
            ),
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53\"]\ninclude = [\"/x\"]\n",
                &[(4, 12, "the zone `a.` is not read from a file that could include others; remove `include`")],
            ),
            (
                "[[zone]]\nname = \"a\"\nfile = \"builtin:demonstration\"\ninclude = [\"/x\"]\n",
                &[(4, 12, "remove `include`")],
            ),
            (
                "[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53\"]\nfile = \"z\"\n[[zone]]\nname = \"b\"\nfile = \"z\"\n\
                 [[zone]]\nname = \"c\"\nfile = \"y\"\n[[zone]]\nname = \"d\"\nfile = \"y\"\n",
                &[(7, 8, "/etc/ringdns/z is where the copy of a zone is kept, and is the file of another zone too")],
            ),
            (
                "[[zone]]\nname = \"b\"\nfile = \"z\"\n[[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53\"]\nfile = \"z\"\n",
                &[(7, 8, "/etc/ringdns/z is where the copy of a zone is kept")],
            ),
            // Catalogs that are made here.
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"cat\"\n",
                &[(4, 13, "`member_of` in [[zone]]: no [[zone]] has the name `cat.`")],
            ),
            (
                "[[zone]]\nname = \"cat\"\nfile = \"c\"\n[[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"cat\"\n\
                 [[zone]]\nname = \"b\"\nfile = \"z\"\nmember_of = \"cat\"\n",
                &[(
                    7,
                    13,
                    "the zone `cat.` has a `file`, and only a catalog that is made here lists zones of this file; remove it",
                )],
            ),
            (
                "[[zone]]\nname = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n[[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"cat\"\n",
                &[(7, 13, "the zone `cat.` has `primaries`, ")],
            ),
            (
                "[[zone]]\nname = \"cat\"\ncatalog = true\n[[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n\
                 [[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"cat\"\n",
                &[(10, 13, "the zone `cat.` has `catalog = true`, ")],
            ),
            (
                "[[zone]]\nname = \"cat\"\ninclude = [\"/x\"]\n[[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"cat\"\n",
                &[(3, 12, "remove `include`")],
            ),
            ("[[zone]]\nname = \"a\"\nmember_of = \"a\"\n", &[(3, 13, "the zone `a.` is `member_of` itself")]),
            (
                "[[zone]]\nname = \"a\"\nfile = \"z\"\ngroup = \"g\"\n",
                &[(4, 9, "the zone `a.` has a `group` in no catalog; name one with `member_of`")],
            ),
            // Catalogs whose members are served here.
            (
                "[[zone]]\nname = \"cat\"\nfile = \"z\"\ncatalog = true\n",
                &[(4, 11, "the catalog `cat.` has no [[template]]")],
            ),
            (
                "[[zone]]\nname = \"cat\"\nfile = \"z\"\ncatalog = 1\n",
                &[(4, 11, "found the number `1`; accepted: true, false")],
            ),
            (
                "[[template]]\n",
                &[
                    (1, 1, "[[template]] lacks `catalog`"),
                    (1, 1, "[[template]] lacks `primaries`; accepted: a list of 1 to 16"),
                ],
            ),
            (
                "[[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n",
                &[(2, 11, "`catalog` in [[template]]: no [[zone]] has the name `cat.`")],
            ),
            (
                "[[zone]]\nname = \"cat\"\nfile = \"z\"\n[[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n",
                &[(5, 11, "`catalog` in [[template]]: the zone `cat.` is none; give it `catalog = true`")],
            ),
        ],
    );
    let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(31));
    let made = |catalog: &str| {
        parse(&format!(
            "[[zone]]\nname = \"{catalog}\"\n[[zone]]\nname = \"a\"\nfile = \"z\"\nmember_of = \"{catalog}\"\n"
        ))
    };
    assert_eq!(name(&longest).as_wire().len(), 225);
    assert!(made(&longest).is_ok() && made(&format!("{longest}d")).is_ok());
    let faults = made(&format!("{longest}dd")).expect_err("it is too long").to_string();
    assert!(faults.contains("ringdns.toml:6:13: ") && faults.contains("is longer than 226 octets"), "{faults}");
}

/// Nine lines: a catalog whose members are served here, with a template.
const CATALOG: &str = "[[zone]]\nname = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\ncatalog = true\n\n\
    [[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n\n";

#[test]
fn mistakes_in_templates_are_named() {
    compare(
        CATALOG,
        &[
            (
                "[[template]]\ncatalog = \"CAT.\"\nprimaries = [\"192.0.2.2:53\"]\n",
                &[(10, 1, "another [[template]] of `cat.` is for members without a group already; remove one")],
            ),
            (
                "[[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nprimaries = [\"192.0.2.2:53\"]\n\
                 [[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nprimaries = [\"192.0.2.2:53\"]\n",
                &[(14, 1, "another [[template]] of `cat.` is for the group `g` already; remove one")],
            ),
            (
                "[[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nprimaries = [\"192.0.2.2:53 key=x\", \"127.0.0.1:5300\"]\n\
                 notify = [\"192.0.2.2:53 key=y\"]\nallow_transfer = [\"key=z\"]\nmember_of = \"out\"\n",
                &[
                    (13, 14, "`primaries` in [[template]]: no [[key]] has the name `x.`"),
                    (13, 36, "`primaries` in [[template]]: 127.0.0.1:5300 is where this server listens itself"),
                    (14, 11, "`notify` in [[template]]: no [[key]] has the name `y.`"),
                    (15, 19, "`allow_transfer` in [[template]]: no [[key]] has the name `z.`"),
                    (16, 13, "`member_of` in [[template]]: no [[zone]] has the name `out.`"),
                ],
            ),
            (
                "[[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nprimaries = [\"192.0.2.2:53\"]\nmember_of = \"cat\"\n",
                &[
                    (14, 13, "the zone `cat.` has `catalog = true`"),
                    (14, 13, "members of `cat.` cannot be `member_of` it anew"),
                ],
            ),
        ],
    );
}

#[test]
fn the_origins_of_zones_are_told_apart() {
    let settings = well(&format!(
        "{CATALOG}[[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nprimaries = [\"192.0.2.2:53\"]\nmember_of = \"out2\"\n\
         [[zone]]\nname = \"a\"\nfile = \"a\"\nmember_of = \"out1\"\ngroup = \"g\"\n[[zone]]\nname = \"out1\"\n\
         [[zone]]\nname = \"out2\"\nmember_of = \"out1\"\n\
         [[zone]]\nname = \"b\"\nprimaries = [\"192.0.2.1:53\"]\nmember_of = \"out2\"\n"
    ));
    assert_eq!(
        settings.origins(),
        [Origin::Primaries, Origin::File, Origin::Members, Origin::Members, Origin::Primaries]
    );
    assert_eq!(*settings.zone[4].file, ZoneFile::Absent);
}

#[test]
fn members_get_the_template_of_their_group() {
    let template = |group: &str, host: u32| {
        format!("[[template]]\ncatalog = \"other\"\ngroup = \"{group}\"\nprimaries = [\"192.0.2.{host}:53\"]\n")
    };
    let other = "[[zone]]\nname = \"other\"\nfile = \"z\"\ncatalog = true\n";
    let settings = well(&format!("{CATALOG}{other}{}{}", template("g", 2), template("h", 3)));
    let primary = |catalog: &str, groups: &[&str]| {
        let template = settings.template(&name(catalog), &name("m.test"), groups);
        template.map(|template| template.primaries[0].address.to_string())
    };
    assert_eq!(primary("cat", &[]).as_deref(), Some("192.0.2.1:53"));
    assert_eq!(
        primary("cat", &["g"]).as_deref(),
        Some("192.0.2.1:53"),
        "a group of which nothing is known is passed over"
    );
    assert_eq!(primary("other", &["g"]).as_deref(), Some("192.0.2.2:53"));
    assert_eq!(primary("other", &["x", "h", "g"]).as_deref(), Some("192.0.2.2:53"), "the first template counts");
    assert_eq!(primary("other", &["h"]).as_deref(), Some("192.0.2.3:53"));
    for groups in [&[][..], &["x"], &[""]] {
        assert_eq!(primary("other", groups), None, "{groups:?}");
    }
    assert_eq!(primary("none", &[]), None);
}

#[test]
fn members_are_within_the_names_of_their_template() {
    let settings = well(
        "[[zone]]\nname = \"cat\"\nfile = \"z\"\ncatalog = true\n\
         [[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\n\
         [[template]]\ncatalog = \"cat\"\ngroup = \"g\"\nwithin = [\"Customers.test\", \"example\"]\nprimaries = [\"192.0.2.2:53\"]\n",
    );
    let has = |member: &str, group: &str| settings.template(&name("cat"), &name(member), &[group]).is_some();
    for (member, within) in [
        ("customers.test", true),
        ("a.b.customers.test", true),
        ("example", true),
        ("x.example", true),
        ("test", false),
        (".", false),
        ("xcustomers.test", false),
        ("customers.test.x", false),
        ("a\\.customers.test", false),
    ] {
        assert_eq!(has(member, "g"), within, "{member}");
        assert!(has(member, ""), "{member}");
    }
    let faults = parse("[[template]]\ncatalog = \"cat\"\nprimaries = [\"192.0.2.1:53\"]\nwithin = []\n");
    assert!(faults.expect_err("no names").to_string().contains(":4:10: `within` in [[template]]: found 0 items"));
}

#[test]
fn mistakes_in_response_rate_limiting_are_named() {
    compare(
        "",
        &[
            (
                "[limits]\nrrl = 20\n",
                &[(2, 7, "`rrl` in [limits]: found the number `20`; accepted: a table on one line")],
            ),
            (
                "[limits]\nrrl = { rates = 20, slip = 11, prefix4 = 33, prefix6 = 0, exempt = [\"10.0.0.1/8\"], entries = 1 }\n",
                &[
                    (2, 9, "unknown key `rates` in `rrl` in [limits] (did you mean `rate`?); accepted: `rate`, `slip`"),
                    (
                        2,
                        28,
                        "`slip` in `rrl` in [limits]: found the number `11`; accepted: a whole number from 0 to 10",
                    ),
                    (2, 42, "from 8 to 32"),
                    (2, 56, "from 16 to 128"),
                    (2, 69, "bits set beyond the prefix length"),
                    (2, 94, "from 1024 to 16777216"),
                ],
            ),
            (
                "[limits]\nrrl = { rate = -1 }\n",
                &[(2, 16, "found the number `-1`; accepted: a whole number from 0 to 1000000")],
            ),
            ("[limits.rrl]\nrate = \"20\"\n", &[(2, 8, "`rate` in `rrl` in [limits]: found the string")]),
        ],
    );
}

#[test]
fn response_rate_limiting_is_off_by_default() {
    let off = well("");
    let rrl = &off.limits.rrl;
    assert_eq!((rrl.rate, rrl.slip, rrl.prefix4, rrl.prefix6, rrl.entries), (0, 2, 24, 56, 65_536));
    assert!(rrl.exempt.is_empty());
    assert_eq!(well("[limits]\nrrl = {}\n"), off);
    let on =
        well("[limits]\nrrl = { rate = 20, slip = 0, prefix6 = 48, exempt = [\"192.0.2.0/24\"], entries = 1024 }\n");
    let rrl = &on.limits.rrl;
    assert_eq!((rrl.rate, rrl.slip, rrl.prefix4, rrl.prefix6, rrl.entries), (20, 0, 24, 48, 1_024));
    assert_eq!(rrl.exempt[0].network.to_string(), "192.0.2.0/24");
    assert_eq!(well(&on.to_toml()), on);
}

#[test]
fn zones_with_peers_read_back_as_the_same() {
    let settings = well(&format!(
        "{KEY}[server]\nstate = \"kept\"\n\
         [[zone]]\nname = \"a\"\nprimaries = [\"192.0.2.1:53 key=K\", \"[2001:db8::1]:5353\"]\n\
         notify = [\"192.0.2.2:53  key=k.\"]\n\
         allow_transfer = [\"2001:DB8::/32\", \"key=k\", \"192.0.2.0/24 key=k\", \"192.0.2.7\", \"192.0.2.7 key=k\"]\n\
         catalog = true\n[[template]]\ncatalog = \"a\"\nprimaries = [\"192.0.2.1:53\"]\nmember_of = \"out\"\n\
         [[zone]]\nname = \"out\"\n[[zone]]\nname = \"b\"\nfile = \"b\"\ninclude = [\"more\", \"/x\"]\nmember_of = \"out\"\ngroup = \"g\"\n"
    ));
    let zone = &settings.zone[0];
    let key = Some(name("k"));
    assert_eq!(zone.primaries[0].key, key);
    assert_eq!((zone.primaries[1].address.to_string().as_str(), &zone.primaries[1].key), ("[2001:db8::1]:5353", &None));
    let allow: Vec<(Option<String>, bool)> = zone
        .allow_transfer
        .iter()
        .map(|allow| (allow.network.map(|network| network.to_string()), allow.key == key))
        .collect();
    let expected = [
        (Some("2001:db8::/32"), false),
        (None, true),
        (Some("192.0.2.0/24"), true),
        (Some("192.0.2.7"), false),
        (Some("192.0.2.7"), true),
    ];
    assert!(allow.iter().map(|(network, key)| (network.as_deref(), *key)).eq(expected), "{allow:?}");
    assert_eq!(*settings.server.state, Path::new("/etc/ringdns/kept"));
    assert_eq!(*settings.zone[2].include[0], Path::new("/etc/ringdns/more"));
    let printed = settings.to_toml().replace("\"(hidden)\"", &format!("\"{SECRET}\""));
    assert_eq!(config::parse("printed", &printed, Path::new("/elsewhere")), Ok(settings), "{printed}");
}
