//! The configuration file: what its mistakes are called, and that the texts made from the declarations agree.

use std::path::Path;

use ringdns_control::config::{self, Cores, Faults, Settings, ZoneFile};

fn parse(text: &str) -> Result<Settings, Faults> {
    config::parse("ringdns.toml", text, Path::new("/etc/ringdns"))
}

const ORIGIN: &str = "[[upstream]]\nname = \"origin\"\nservers = [\"udp://192.0.2.1:53\"]\n";

/// A file, and of each mistake in it the line, the column and a part of the message.
type Case = (&'static str, &'static [(u32, u32, &'static str)]);

const CASES: &[Case] = &[
    // What is no TOML.
    ("[server", &[(1, 8, "this is no TOML")]),
    ("[server]\ncores = \n", &[(2, 9, "this is no TOML")]),
    ("[server]\ncores = 1\ncores = 2\n", &[(3, 1, "duplicate key")]),
    ("[server]\n[server]\n", &[(2, 2, "duplicate")]),
    // Tables and keys that are not known, or not yet.
    ("[sever]\n", &[(1, 2, "unknown table or key `sever` (did you mean `server`?); accepted: [server], [[listen]]")]),
    ("cores = 1\n", &[(1, 1, "unknown table or key `cores`")]),
    ("[dnssec]\nmode = \"strict\"\n", &[(1, 2, "the table `dnssec` is not available in this version; remove it")]),
    (
        "[[list]]\nname = \"a\"\n[[list]]\nname = \"b\"\n",
        &[(1, 3, "the table `list` is not available in this version; remove it")],
    ),
    (
        "[server]\ncore = 2\n",
        &[(2, 1, "unknown key `core` in [server] (did you mean `cores`?); accepted: `cores`, `user`")],
    ),
    ("[[listen]]\nproxies = []\n", &[(2, 1, "`proxies` in [[listen]] is not available")]),
    // The shape of tables.
    ("server = 1\n", &[(1, 10, "`server` is the number; write it as [server]")]),
    ("[listen]\naddress = \"127.0.0.1:53\"\n", &[(1, 1, "`listen` is the table; write it as [[listen]]")]),
    ("[[cache]]\n", &[(1, 1, "write it as [cache]")]),
    ("listen = [1]\n", &[(1, 11, "`listen` is the number; write it as [[listen]]")]),
    // [server]
    (
        "[server]\ncores = \"some\"\n",
        &[(2, 9, "`cores` in [server]: found the string `\"some\"`; accepted: \"all\", a count from 1 to 1024")],
    ),
    ("[server]\ncores = 0\n", &[(2, 9, "found the number `0`")]),
    ("[server]\ncores = 1.5\n", &[(2, 9, "found the fraction `1.5`")]),
    ("[server]\ncores = []\n", &[(2, 9, "found 0 items")]),
    ("[server]\ncores = [0, 2, 0]\n", &[(2, 16, "0 stands in the list twice")]),
    ("[server]\ncores = [0, -1, 5000]\n", &[(2, 13, "the number `-1`"), (2, 17, "the number `5000`")]),
    ("[server]\nsteering = \"cpu\"\n", &[(2, 12, "\"cpu\" is not available in this version; accepted: \"flow\"")]),
    ("[server]\nsteering = \"luck\"\n", &[(2, 12, "found the string `\"luck\"`; accepted: \"flow\"")]),
    ("[server]\nreplicas = true\n", &[(2, 12, "found the word `true`; accepted: \"core\", \"node\"")]),
    ("[server]\nidentity = \"a\\u0007b\"\n", &[(2, 12, "without control characters")]),
    (
        "[server]\nstate = \"\"\n",
        &[(2, 9, "`state` in [server]: found the string `\"\"`; accepted: the path of a folder")],
    ),
    ("[server]\nstate = 1\n", &[(2, 9, "found the number `1`; accepted: the path of a folder")]),
    // [[listen]]
    ("[[listen]]\naddress = \"localhost:53\"\n", &[(2, 11, "accepted: an IP address with a port")]),
    ("[[listen]]\naddress = \"127.0.0.1\"\n", &[(2, 11, "an IP address with a port")]),
    ("[[listen]]\naddress = \"224.0.0.251:5353\"\n", &[(2, 11, "an IP address with a port")]),
    (
        "[[listen]]\nprotocols = [\"udp\", \"tls\", \"carrier\"]\n",
        &[(2, 21, "\"tls\" is not available in this version"), (2, 28, "found the string `\"carrier\"`")],
    ),
    ("[[listen]]\nprotocols = []\n", &[(2, 13, "found 0 items; accepted: a list of 1 to 7 items")]),
    ("[[listen]]\nprotocols = \"udp\"\n", &[(2, 13, "found the string `\"udp\"`; accepted: a list")]),
    ("[[listen]]\nallow = [\"10.0.0.0/8\", \"10.0.0.1/8\"]\n", &[(2, 24, "bits set beyond the prefix length")]),
    ("[[listen]]\n\n[[listen]]\nprotocols = [\"tcp\"]\n", &[(3, 1, "127.0.0.1:5300 is in another [[listen]] already")]),
    ("[[listen]]\naddress = \"127.0.0.1:8053\"\n", &[(2, 11, "127.0.0.1:8053 is `listen` of [control] too")]),
    // [[zone]]
    ("[[zone]]\n", &[(1, 1, "[[zone]] lacks `name`; accepted: a domain name")]),
    ("[[zone]]\nname = \"a\"\n", &[(1, 1, "the zone `a.` has no `file`; name its master file, or `primaries`")]),
    ("[[zone]]\nname = \"a\"\nfile = 1\n", &[(3, 8, "found the number `1`; accepted: the path of a file")]),
    ("[[zone]]\nname = \"a..b\"\nfile = \"z\"\n", &[(2, 8, "\"a..b\" is no domain name")]),
    ("[[zone]]\nname = \"a\"\nfile = \"\"\n", &[(3, 8, "the zone `a.` has no `file`")]),
    (
        "[[zone]]\nname = \"a\"\nfile = \"z\"\ninclude = [\"\", \"/x\", \"/x\"]\n",
        &[(4, 12, "accepted: the path of a folder"), (4, 22, "\"/x\" stands in the list twice")],
    ),
    (
        "[[zone]]\nname = \"a.test\"\nfile = \"z\"\n[[zone]]\nname = \"A.test.\"\nfile = \"y\"\n",
        &[(5, 8, "the zone `a.test.` is in another [[zone]] already")],
    ),
    // [[upstream]]
    ("[[upstream]]\nname = \"a\"\nservers = []\n", &[(3, 11, "found 0 items; accepted: a list of 1 to 32 items")]),
    (
        "[[upstream]]\nname = \"a\"\nservers = [\"192.0.2.1:53\"]\n",
        &[(3, 12, "\"udp://\" or \"tcp://\" and an IP address")],
    ),
    ("[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.1\"]\n", &[(3, 12, "with a port")]),
    (
        "[[upstream]]\nname = \"a\"\nservers = [\"tls://192.0.2.1:853\"]\n",
        &[(3, 12, "\"tls://\" is not available in this version")],
    ),
    ("[[upstream]]\nname = \"a\"\nservers = [\"udp://0.0.0.0:53\"]\n", &[(3, 12, "with a port")]),
    (
        "[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.1:53\", \"udp://192.0.2.1:53\"]\n",
        &[(3, 34, "stands in the list twice")],
    ),
    (
        "[[upstream]]\nname = \"a\"\nservers = [\"udp://127.0.0.1:5300\"]\n",
        &[(3, 12, "127.0.0.1:5300 is where this server listens itself")],
    ),
    (
        "[[listen]]\naddress = \"0.0.0.0:53\"\n[[upstream]]\nname = \"a\"\nservers = [\"tcp://127.0.0.1:53\"]\n",
        &[(5, 12, "127.0.0.1:53 is where this server listens itself")],
    ),
    ("[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.256:53\"]\n", &[(3, 12, "with a port")]),
    (
        "[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.1:53\", \"udp://192.0.2.2:53 weight=1\"]\n",
        &[(3, 34, "a weight counts with `strategy = \"balanced\"` alone")],
    ),
    (
        "[[upstream]]\nname = \"a\"\nstrategy = \"balanced\"\n\
         servers = [\"udp://192.0.2.1:53\", \"udp://192.0.2.1:53 weight=2\", \"tcp://192.0.2.1:53 weight=0\"]\n",
        &[(4, 65, "a weight from 1 to 1000")],
    ),
    (
        "[[upstream]]\nname = \"a\"\nstrategy = \"balanced\"\nservers = [\"udp://192.0.2.1:53\", \"udp://192.0.2.1:53 weight=2\"]\n",
        &[(4, 34, "`udp://192.0.2.1:53` stands in the list twice")],
    ),
    (
        "[[upstream]]\nname = \"refuse\"\nservers = [\"udp://192.0.2.1:53\"]\nstrategy = \"quickest\"\nkind = \"x\"\n",
        &[
            (2, 8, "\"refuse\" has a meaning of its own"),
            (4, 12, "\"uniform\", \"fallback\", \"minload\", \"parallel\", \"balanced\""),
            (5, 8, "\"authoritative\""),
        ],
    ),
    (
        "[[upstream]]\nname = \"a b\"\nservers = [\"udp://192.0.2.1:53\"]\nudp_ports = 65\ntimeout = \"1ms\"\npriority = 0\n",
        &[
            (2, 8, "letters, digits"),
            (4, 13, "a whole number from 1 to 64"),
            (5, 11, "a time from \"100ms\" to \"1m\""),
            (6, 12, "from 1 to 1000"),
        ],
    ),
    // [cache], [limits], [log], [control]
    ("[cache]\nsize = \"256MB\"\n", &[(2, 8, "KiB, MiB, GiB or TiB")]),
    ("[cache]\nsize = 1000\n", &[(2, 8, "found the number `1000`; accepted: a size from \"1MiB\" to \"1TiB\"")]),
    ("[cache]\nsize = \"99999999999999999999TiB\"\n", &[(2, 8, "a size from")]),
    (
        "[server]\nspin = \"2s\"\n[limits]\ntcp_idle = \"500us\"\n",
        &[
            (2, 8, "a time from \"0s\" to \"1s\" as a string: a whole number and us, ms, s, m, h, d or w"),
            (4, 12, "a whole number and ms, s, m, h, d or w"),
        ],
    ),
    ("[cache]\nmax_ttl = \"1500ms\"\n", &[(2, 11, "a time from \"0s\" to \"1w\"")]),
    ("[cache]\nmin_ttl = \"2h\"\nmax_ttl = \"1h\"\n", &[(3, 11, "`min_ttl` in [cache] is above `max_ttl`")]),
    (
        "[limits]\ntcp_clients = 0\nresolves = \"many\"\n",
        &[(2, 15, "from 1 to 1000000"), (3, 12, "the string `\"many\"`")],
    ),
    ("[log]\nlevel = \"loud\"\n", &[(2, 9, "\"error\", \"warn\", \"info\", \"debug\", \"trace\"")]),
    ("[control]\nlisten = \"0.0.0.0:8053\"\n", &[(2, 10, "0.0.0.0:8053 is not a loopback address")]),
    (
        "[query_log]\nenabled = 1\nkeep = \"5m\"\nsize = \"1MiB\"\nsample = 0\nclient_prefix_v4 = 33\n",
        &[
            (2, 11, "true, false"),
            (3, 8, "a time from \"1h\""),
            (4, 8, "a size from \"16MiB\""),
            (5, 10, "from 1 to 1000000"),
            (6, 20, "from 0 to 32"),
        ],
    ),
    (
        "[dnstap]\nto = \"/run/dnstap.sock\"\nmessages = [\"forwarder\"]\n",
        &[(2, 6, "\"unix:PATH\" of a Unix socket"), (3, 13, "\"client\", \"resolver\"")],
    ),
    ("[dnstap]\nto = \"tcp:192.0.2.1:0\"\n", &[(2, 6, "\"tcp:ADDRESS:PORT\"")]),
    ("[control]\nsocket = 1\n", &[(2, 10, "found the number `1`; accepted: the path of a Unix socket")]),
    ("[control]\ntoken_file = \"absent\"\n", &[(2, 14, "/etc/ringdns/absent cannot be read: No such file")]),
    ("[control]\nlisten = 8053\n", &[(2, 10, "an IP address with a port")]),
];

/// As [`CASES`], after an `[[upstream]]` of three lines.
const ROUTE_CASES: &[Case] = &[
    (
        "[[route]]\nsuffix = \".\"\nto = [\"orgin\"]\n",
        &[(6, 7, "no [[upstream]] has the name `orgin` (did you mean `origin`?)")],
    ),
    ("[[route]]\nsuffix = \".\"\nto = [\"recurse\"]\n", &[(6, 7, "\"recurse\" is not available in this version")]),
    ("[[route]]\nsuffix = \".\"\nto = [\"origin\", \"refuse\"]\n", &[(6, 17, "\"refuse\" stands alone")]),
    ("[[route]]\nsuffix = \".\"\nto = []\n", &[(6, 6, "found 0 items; accepted: a list of 1 to 8 items")]),
    (
        "[[route]]\nsuffix = \".\"\nto = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]\n",
        &[(6, 6, "found 9 items; accepted: a list of 1 to 8 items")],
    ),
    (
        "[[route]]\nsuffix = \"a\"\nto = [\"origin\"]\n[[route]]\nsuffix = \"A.\"\nto = [\"refuse\"]\n",
        &[(8, 10, "the suffix `a.` has another [[route]] already")],
    ),
    (
        "[[zone]]\nname = \"a\"\nfile = \"z\"\n[[route]]\nsuffix = \"a\"\nto = [\"origin\"]\n",
        &[(8, 10, "`a.` is a [[zone]], which is a route of its own")],
    ),
    (
        "[[upstream]]\nname = \"origin\"\nservers = [\"udp://192.0.2.2:53\"]\n",
        &[(5, 8, "another [[upstream]] has the name `origin` already")],
    ),
];

#[test]
fn each_mistake_is_named_with_its_place() {
    let routes = ROUTE_CASES.iter().map(|(text, faults)| (format!("{ORIGIN}{text}"), *faults));
    let mut differing = String::new();
    for (text, expected) in CASES.iter().map(|(text, faults)| (text.to_string(), *faults)).chain(routes) {
        let list = parse(&text).err().map(|faults| faults.list).unwrap_or_default();
        let same = list.len() == expected.len()
            && list.iter().zip(expected).all(|(fault, (line, column, part))| {
                (fault.place.line, fault.place.column) == (*line, *column) && fault.message.contains(part)
            });
        if !same {
            differing.push_str(&format!("{text}\nfound {list:#?}\nexpected {expected:#?}\n"));
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn there_are_only_so_many_of_each() {
    let servers: Vec<String> = (1..=33).map(|host| format!("\"udp://192.0.2.{host}:53\"")).collect();
    let pool = |count| format!("[[upstream]]\nname = \"a\"\nservers = [{}]\n", servers[..count].join(", "));
    assert!(parse(&pool(32)).is_ok());
    assert!(
        parse(&pool(33)).expect_err("one too many").to_string().contains(":3:11: `servers` in [[upstream]]: found 33")
    );
    let listens = |count: u32| {
        (1..=count).map(|port| format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n")).collect::<String>()
    };
    assert_eq!(parse(&listens(64)).map(|settings| settings.listen.len()), Ok(64));
    let faults = parse(&listens(65)).expect_err("one too many").to_string();
    assert_eq!(faults, "ringdns.toml:129:1: more than 64 [[listen]] tables");
}

#[test]
fn upstreams_on_this_machine_are_not_this_server_when_the_family_differs() {
    let file = |server: &str| {
        format!("[[listen]]\naddress = \"[::]:53\"\n[[upstream]]\nname = \"a\"\nservers = [\"udp://{server}\"]\n")
    };
    assert!(parse(&file("127.0.0.1:53")).is_ok() && parse(&file("[::1]:54")).is_ok());
    assert!(parse(&file("[::1]:53")).is_err());
}

#[test]
fn messages_begin_with_file_line_and_column() {
    let faults = parse("[server]\ncores = 0\nuser = 1\n").expect_err("two mistakes");
    let text = faults.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ringdns.toml:2:9: `cores` in [server]: found the number `0`;"), "{text}");
    assert!(lines[1].starts_with("ringdns.toml:3:8: `user` in [server]"), "{text}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let whole = format!("{}{ORIGIN}[[route]]\nsuffix = \".\"\nto = [\"origin\"]\n", config::default_file());
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)).step_by(7) {
        let _ = parse(&whole[..end]);
        let _ = parse(&format!("{}\u{0}ä{}", &whole[..end], &whole[end..]));
    }
    for opening in ["a = [", "a = {b = ", "[a.", "a.", "[[", "\"", "\"\"\""] {
        assert!(parse(&opening.repeat(50_000)).is_err(), "{opening}");
    }
}

#[test]
fn the_default_file_holds_the_defaults() {
    let from_file = parse(&config::default_file()).expect("the default file has no mistakes");
    assert_eq!(from_file, parse("").expect("an empty file has no mistakes"));
    assert_eq!(from_file.listen[0].address.to_string(), "127.0.0.1:5300");
    assert_eq!(*from_file.server.cores, Cores::All);
}

#[test]
fn the_examples_of_the_default_file_are_accepted() {
    // Prose has a space behind its mark, examples have none.
    let prose = |line: &&str| !line.starts_with("# ");
    let file = config::default_file();
    let toml: String = file.lines().filter(prose).map(|line| format!("{}\n", line.trim_start_matches('#'))).collect();
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("transfer.key"), "MDEyMzQ1Njc4OTAxMjM0NQ==\n").expect("the file can be written");
    // The example of a template is for a catalog, and the example of a zone is none.
    let catalog = "[[zone]]\nname = \"catalog.example\"\nfile = \"catalog.zone\"\ncatalog = true\n";
    let parsed = config::parse("ringdns.toml", &format!("{toml}{catalog}"), folder.path());
    let settings = parsed.expect("the examples are accepted");
    assert_eq!(settings.zone[0].name.to_string(), "example.com.");
    assert_eq!(*settings.zone[0].file, ZoneFile::Path(folder.path().join("example.com.zone")));
    assert_eq!(**settings.route[0].to[0], *"origin");
    assert_eq!(settings.key[0].octets(), b"0123456789012345");
    assert_eq!(settings.template[0].primaries[0].key.as_ref(), Some(&*settings.key[0].name));
}

#[test]
fn what_is_in_force_reads_back_as_the_same() {
    let text = format!(
        "{ORIGIN}strategy = \"fallback\"\nkind = \"authoritative\"\ntimeout = \"1500ms\"\n\
         [server]\ncores = [0, 3]\nspin = \"1050us\"\nidentity = 'a \"b\" \\c ä'\nreplicas = \"node\"\n\
         [[listen]]\naddress = \"[::1]:5353\"\nallow = [\"2001:db8::/32\", \"192.0.2.1\"]\nprotocols = [\"tcp\"]\n\
         [[zone]]\nname = 'a\\.b.example'\nfile = \"zones/a.zone\"\n\
         [[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n\
         [[route]]\nsuffix = \".\"\nto = [\"origin\"]\n[[route]]\nsuffix = \"bad.example\"\nto = [\"refuse\"]\n\
         [[upstream]]\nname = \"b\"\nservers = [\"udp://192.0.2.1:53  weight=9\", \"tcp://[::1]:9\"]\nstrategy = \"balanced\"\n\
         [[upstream]]\nname = \"m\"\nservers = [\"udp://192.0.2.1:53\"]\nstrategy = \"minload\"\n\
         [[upstream]]\nname = \"p\"\nservers = [\"udp://192.0.2.1:53\"]\nstrategy = \"parallel\"\n\
         [cache]\nsize = \"1536KiB\"\nmin_ttl = \"90s\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n\
         [control]\nlisten = \"\"\n"
    );
    let settings = parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let printed = settings.to_toml();
    let again =
        config::parse("printed", &printed, Path::new("/elsewhere")).unwrap_or_else(|f| panic!("{f}\n{printed}"));
    assert_eq!(again, settings, "{printed}");
    assert!(printed.contains("file = \"/etc/ringdns/zones/a.zone\""), "{printed}");
    assert!(printed.contains("spin = \"1050us\"") && printed.contains("timeout = \"1500ms\""), "{printed}");
    assert_ne!(again, parse("").expect("an empty file has no mistakes"));
}

#[test]
fn cpus_are_taken_from_those_that_the_process_may_use() {
    let usable = [1, 2, 5];
    let cpus = |cores: &str| {
        let settings = parse(&format!("[server]\ncores = {cores}\n")).expect("no mistake of form");
        settings.cpus(&usable, "ringdns.toml").map_err(|faults| faults.to_string())
    };
    assert_eq!(cpus("\"all\""), Ok(vec![1, 2, 5]));
    assert_eq!(cpus("2"), Ok(vec![1, 2]));
    assert_eq!(cpus("[5, 1]"), Ok(vec![5, 1]));
    let too_many = cpus("4").expect_err("there are three");
    assert!(too_many.starts_with("ringdns.toml:2:9: `cores` in [server]: found 4, but"), "{too_many}");
    assert!(cpus("[1, 3]").expect_err("not usable").contains("may not use CPU 3"));
}

/// Run with RINGDNS_WRITE_REFERENCE=1 to write the page anew.
#[test]
fn the_reference_page_is_in_step() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIGURATION.md");
    if std::env::var_os("RINGDNS_WRITE_REFERENCE").is_some() {
        std::fs::write(&page, config::reference()).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == config::reference(),
        "{} differs from the declarations; run `ringdns config --reference > docs/CONFIGURATION.md`",
        page.display()
    );
}
