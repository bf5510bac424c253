//! Query rates, budgets of zones and secrets of cookies in the configuration file: their mistakes, and their values.

use std::path::Path;

use ringdns_control::config::{self, Faults, Rate, Settings};
use ringdns_shard::guard::rate::{Action, Family};

fn parse(text: &str) -> Result<Settings, Faults> {
    config::parse("ringdns.toml", text, Path::new("/etc/ringdns"))
}

fn well(text: &str) -> Settings {
    parse(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// Line, column and message of every mistake.
fn faults(text: &str) -> Vec<(u32, u32, String)> {
    let list = parse(text).expect_err("a mistake").list;
    list.into_iter().map(|fault| (fault.place.line, fault.place.column, fault.message)).collect()
}

/// Whether the mistakes are at these columns of the second line, each with this in its message.
fn are(text: &str, expected: &[(u32, &str)]) {
    let found = faults(text);
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|((line, column, message), (at, part))| (*line, *column) == (2, *at) && message.contains(part));
    assert!(same, "{text}\nfound {found:#?}\nexpected {expected:#?}");
}

#[test]
fn mistakes_in_rates_are_named() {
    are(
        "[limits]\nrate = 20\n",
        &[(8, "`rate` in [limits]: found the number `20`; accepted: a list of 0 to 16 items")],
    );
    are("[limits]\nrate = [20]\n", &[(9, "found the number `20`; accepted: a table on one line")]);
    are(
        "[limits]\nrate = [{ prefix = 24, qqs = 7 }]\n",
        &[
            (9, "`rate` in [limits] lacks `qps`; accepted: a whole number from 1 to 1000000"),
            (24, "unknown key `qqs` in `rate` in [limits] (did you mean `qps`?)"),
        ],
    );
    are(
        "[limits]\nrate = [{ prefix = 7, qps = 0, family = \"ip\" }]\n",
        &[(20, "from 8 to 128"), (29, "from 1 to 1000000"), (41, "accepted: \"auto\", \"ipv4\", \"ipv6\"")],
    );
    are(
        "[limits]\nrate = [{ prefix = 33, qps = 1, family = \"ipv4\" }]\n",
        &[(9, "`rate` in [limits]: an IPv4 address has 32 bits, and `prefix` is 33")],
    );
    are(
        "[limits]\nrate = [{ prefix = 24, qps = 1 }, 7]\n",
        &[(35, "`rate` in [limits]: found the number `7`; accepted: a table on one line")],
    );
    are("[limits]\nrate_action = \"reject\"\n", &[(15, "accepted: \"drop\", \"truncate\", \"refuse\"")]);
    are("[limits]\nzone_rate = 1000001\n", &[(13, "from 0 to 1000000")]);
    are("[limits]\nzone_resolves = 0\n", &[(17, "from 1 to 65536")]);
}

#[test]
fn rates_that_are_never_reached_are_mistakes() {
    are(
        "[limits]\nrate = [{ prefix = 24, qps = 5 }, { prefix = 24, qps = 6, family = \"ipv4\" }]\n",
        &[
            (9, "ipv4 prefixes of 24 bits have two rates; remove one"),
            (35, "`rate` in [limits]: ipv4 prefixes of 24 bits have two rates"),
        ],
    );
    are(
        "[limits]\nrate = [{ prefix = 64, qps = 5 }, { prefix = 48, qps = 5 }]\n",
        &[(
            9,
            "5 queries a second of an ipv6 prefix of 64 bits are never reached, for all of its first 48 bits may ask 5 \
             only",
        )],
    );
    well("[limits]\nrate = [{ prefix = 24, qps = 5 }, { prefix = 24, qps = 6, family = \"ipv6\" }]\n");
    well("[limits]\nrate = [{ prefix = 32, qps = 5 }, { prefix = 24, qps = 6 }, { prefix = 16, qps = 7 }]\n");
}

#[test]
fn limits_have_defaults_and_read_back_as_the_same() {
    let off = well("");
    let limits = &off.limits;
    assert!(limits.rate.is_empty() && limits.rate_exempt.is_empty() && !*limits.rate_dry_run);
    assert_eq!((*limits.rate_action, *limits.zone_resolves, *limits.zone_rate), (Action::Drop, 1_000, 0));
    assert!(off.server.cookie_secrets.is_empty());
    assert_eq!(well("[limits]\nrate = []\n"), off);
    let on = well(
        "[limits]\nrate = [{ prefix = 32, qps = 9 }, { prefix = 33, qps = 8 }, { prefix = 32, qps = 9, family = \"ipv6\" }]\n\
         rate_action = \"truncate\"\nrate_dry_run = true\nrate_exempt = [\"192.0.2.0/24\"]\nzone_resolves = 7\nzone_rate = 6\n",
    );
    let rates: Vec<Rate> = on.limits.rate.iter().map(|rate| Rate::clone(rate)).collect();
    let expected = [(Family::Ipv4, 32, 9), (Family::Ipv6, 33, 8), (Family::Ipv6, 32, 9)];
    assert_eq!(rates, expected.map(|(family, prefix, qps)| Rate { family, prefix, qps }));
    assert_eq!((*on.limits.rate_action, *on.limits.zone_rate), (Action::Truncate, 6));
    assert_eq!(well(&on.to_toml()), on);
}

const FIRST: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const SECOND: &str = "E5E973E5A6B2A43F48E7DC849E37BFCE";

#[test]
fn secrets_of_cookies_are_read_and_never_shown() {
    let settings = well(&format!("[server]\ncookie_secrets = [\"{FIRST}\", \"{SECOND}\"]\n"));
    let octets: Vec<[u8; 16]> = settings.server.cookie_secrets.iter().map(|secret| secret.octets()).collect();
    assert_eq!(octets[0][..3], [0xe5, 0xe9, 0x73]);
    assert_eq!((octets[0][15], octets[1][15]), (0xcf, 0xce));
    let printed = settings.to_toml();
    assert!(printed.contains("cookie_secrets = [\"(hidden)\", \"(hidden)\"] # secrets are not printed"), "{printed}");
    let shown = format!("{settings:?}{printed}").to_lowercase();
    assert!(!shown.contains("e5e973") && !shown.contains("229, 233"), "{shown}");
    let again = faults(&printed);
    assert!(again[0].2.contains("\"(hidden)\" stands where `ringdns config` hid a secret"), "{again:?}");
}

#[test]
fn mistakes_in_secrets_of_cookies_do_not_show_them() {
    let short = &FIRST[1..];
    let other = FIRST.replace('e', "g");
    let accented = format!("é{}", &FIRST[2..]);
    for (value, column) in [
        (format!("\"{FIRST}\""), 18),
        (format!("[\"{short}\"]"), 19),
        (format!("[\"{FIRST}0\"]"), 19),
        (format!("[\"{other}\"]"), 19),
        (format!("[\"{accented}\"]"), 19),
        (format!("[\"{FIRST}\", \"{FIRST}\"]"), 55),
        ("[\"\"]".to_owned(), 19),
        ("[7]".to_owned(), 19),
        (format!("[{}]", ["\"00112233445566778899aabbccddeeff\""; 5].join(", ")), 18),
    ] {
        let found = faults(&format!("[server]\ncookie_secrets = {value}\n"));
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 2, column), "{value} {found:?}");
        assert!(found[0].2.starts_with("`cookie_secrets` in [server]: "), "{found:?}");
        assert!(!found[0].2.contains("973") && !found[0].2.contains("0011"), "{found:?}");
    }
}
