//! The words of the command line, as `dig` takes them, turned into an [`Ask`]. Nothing is sent from here.
//!
//! A bare word is a type if it can be one and none was given yet, else a class, else the name; `-q`, `-t` and `-c`
//! say it outright, and a name that looks like a type is written with its final dot (`mx.`). Of several words that
//! contradict each other, such as `+tcp +notcp`, the last one counts.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use domain::base::Name;
use domain::base::iana::{Class, Rtype};

/// The port of DNS over UDP and TCP.
const PORT: u16 = 53;
/// What a datagram crosses the Internet with unfragmented (DNS Flag Day 2020).
const BUFSIZE: u16 = 1232;
/// How long to wait for a reply to one sending, and the most that can be asked for.
const TIMEOUT_S: u64 = 5;
const TIMEOUT_S_MAX: u64 = 300;
/// How often a UDP query is sent, and the most that can be asked for.
const TRIES: u64 = 3;
const TRIES_MAX: u64 = 20;

const USAGE: &str = "usage: ringdns query [@SERVER[:PORT]] NAME [TYPE] [CLASS] [-x ADDRESS] [-p PORT] [+WORD …]; \
                     `ringdns query --help` lists the words";

/// Shown below the options by `--help`.
pub(super) const HELP: &str = "\
Words, in any order:
  @SERVER[:PORT]    whom to ask: an address (@127.0.0.1:5300, @::1, @[::1]:5300) or a host name;
                    otherwise the name servers of /etc/resolv.conf
  NAME              what to ask for; a name that is also a type ends in a dot (mx.)
  TYPE, CLASS       A and IN where absent; TYPE65280 and CLASS255 work too
  -x ADDRESS        the name of an address: PTR under in-addr.arpa or ip6.arpa
  -p PORT           the server's port where @SERVER has none (53)
  -q NAME, -t TYPE, -c CLASS
                    the same as the bare words, without guessing
  +tcp              ask over TCP; otherwise UDP, then TCP if the reply is truncated
  +ignore           keep a truncated reply
  +dnssec           ask for signatures (the DO bit)
  +nsid             ask for the server's identity
  +norec            without recursion;  +cd: without validation;  +ad: show whether validated
  +bufsize=N        the largest datagram to accept (1232)
  +edns=N           the EDNS version (0);  +noedns: no EDNS at all
  +timeout=N        seconds to wait for each reply (5)
  +tries=N          sendings over UDP (3)
  +short            the answer's data alone
  +json             one JSON object
  +check            exit status 1 unless the rcode is NOERROR and the answer is not empty
Every word that takes no number can be turned off with +no…, and the last one counts.

Exit status: 0 a reply came, 1 it is malformed or fails +check, 2 wrong usage, 3 no reply or network error.";

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Everything, as `dig` does.
    Full,
    /// The data of the answer's records, one a line.
    Short,
    /// One JSON object.
    Json,
}

/// What the query's OPT record says (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskEdns {
    /// 0 is the only one in use.
    pub(super) version: u8,
    /// Octets.
    pub(super) bufsize: u16,
    /// The DO bit.
    pub(super) dnssec: bool,
    /// An empty NSID option (RFC 5001 §2.1).
    pub(super) nsid: bool,
}

/// One question, whom to ask and how, and what to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Host and port of `@SERVER[:PORT]`.
    pub(super) server: Option<(String, Option<u16>)>,
    /// Where [`Ask::server`] carries no port.
    pub(super) port: u16,
    /// Uncompressed wire format, in the asker's spelling.
    pub(super) name: Vec<u8>,
    pub(super) rtype: Rtype,
    pub(super) class: Class,
    pub(super) tcp: bool,
    /// A truncated reply is final.
    pub(super) ignore: bool,
    pub(super) rd: bool,
    pub(super) ad: bool,
    pub(super) cd: bool,
    pub(super) edns: Option<AskEdns>,
    pub(super) output: Output,
    pub(super) check: bool,
    /// For one sending over UDP, or one exchange over TCP.
    pub(super) timeout: Duration,
    /// Sendings over UDP, at least 1.
    pub(super) tries: u64,
}

impl Ask {
    /// # Errors
    /// A text for the user that names the word at fault and what is accepted.
    pub(super) fn from_words(words: &[String]) -> Result<Ask, String> {
        let mut draft = Draft::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if let Some(server) = word.strip_prefix('@') {
                draft.server(server)?;
            } else if let Some(plus) = word.strip_prefix('+') {
                draft.plus(plus)?;
            } else if word.starts_with('-') && word.len() > 1 {
                draft.dash(word, &mut rest)?;
            } else {
                draft.bare(word)?;
            }
        }
        draft.finish()
    }
}

/// The words read so far.
struct Draft {
    server: Option<(String, Option<u16>)>,
    port: u16,
    name: Option<(String, Vec<u8>)>,
    rtype: Option<Rtype>,
    /// The type where none is given.
    usual: Rtype,
    class: Option<Class>,
    switches: Switches,
    version: u8,
    bufsize: Option<u16>,
    timeout_s: u64,
    tries: u64,
}

/// The words that are on or off.
struct Switches {
    tcp: bool,
    ignore: bool,
    rd: bool,
    ad: bool,
    cd: bool,
    edns: bool,
    dnssec: bool,
    nsid: bool,
    short: bool,
    json: bool,
    check: bool,
}

/// Where a switch keeps its state.
type Place = fn(&mut Switches) -> &mut bool;

/// Each switch with all its spellings, the first of which is shown to the user.
const SWITCHES: [(&[&str], Place); 11] = [
    (&["tcp"], |on| &mut on.tcp),
    (&["ignore"], |on| &mut on.ignore),
    (&["rec", "recurse", "rdflag"], |on| &mut on.rd),
    (&["ad", "adflag"], |on| &mut on.ad),
    (&["cd", "cdflag"], |on| &mut on.cd),
    (&["edns"], |on| &mut on.edns),
    (&["dnssec", "do"], |on| &mut on.dnssec),
    (&["nsid"], |on| &mut on.nsid),
    (&["short"], |on| &mut on.short),
    (&["json"], |on| &mut on.json),
    (&["check"], |on| &mut on.check),
];

/// A word that takes a number: its spellings, the least and the most it may be, and what it sets.
type Number = (&'static [&'static str], u64, u64, fn(&mut Draft, u64));

const NUMBERS: [Number; 4] = [
    (&["bufsize"], 0, 65_535, |draft, number| draft.bufsize = Some(number as u16)),
    (&["edns"], 0, 255, |draft, number| {
        draft.version = number as u8;
        draft.switches.edns = true;
    }),
    (&["timeout", "time"], 1, TIMEOUT_S_MAX, |draft, number| draft.timeout_s = number),
    (&["tries"], 1, TRIES_MAX, |draft, number| draft.tries = number),
];

impl Default for Draft {
    fn default() -> Draft {
        let switches = Switches {
            tcp: false,
            ignore: false,
            rd: true,
            ad: false,
            cd: false,
            edns: true,
            dnssec: false,
            nsid: false,
            short: false,
            json: false,
            check: false,
        };
        Draft {
            server: None,
            port: PORT,
            name: None,
            rtype: None,
            usual: Rtype::A,
            class: None,
            switches,
            version: 0,
            bufsize: None,
            timeout_s: TIMEOUT_S,
            tries: TRIES,
        }
    }
}

impl Draft {
    fn server(&mut self, text: &str) -> Result<(), String> {
        if self.server.is_some() {
            return Err(format!("'@{}': a second server; one query asks one", text.escape_default()));
        }
        self.server = Some(server(text)?);
        Ok(())
    }

    /// A word that began with `+`.
    fn plus(&mut self, word: &str) -> Result<(), String> {
        let lower = word.to_ascii_lowercase();
        if let Some((name, value)) = lower.split_once('=') {
            let Some((_, low, high, set)) = NUMBERS.iter().find(|(names, ..)| names.contains(&name)) else {
                return Err(unknown_plus(word));
            };
            set(self, number(&format!("+{name}"), value, *low, *high)?);
            return Ok(());
        }
        let (name, on) = match lower.strip_prefix("no") {
            Some(off) if switch(off).is_some() => (off, false),
            _ => (lower.as_str(), true),
        };
        if matches!(name, "tls" | "https" | "http" | "quic" | "h3") {
            return Err(format!("+{name} is not available in this version; UDP (the default) and +tcp are"));
        }
        let Some(place) = switch(name) else { return Err(unknown_plus(word)) };
        *place(&mut self.switches) = on;
        Ok(())
    }

    /// A word that began with `-`: a letter, and its value in the same word or the next.
    fn dash<'a>(&mut self, word: &'a str, rest: &mut impl Iterator<Item = &'a String>) -> Result<(), String> {
        let letter = word.chars().nth(1).unwrap_or_default();
        if !matches!(letter, 'x' | 'p' | 'q' | 't' | 'c') {
            return Err(format!("unknown option '{}'; accepted: -x -p -q -t -c", word.escape_default()));
        }
        let value = match &word[2..] {
            "" => rest.next().ok_or_else(|| format!("-{letter} needs a value; {USAGE}"))?.as_str(),
            glued => glued,
        };
        match letter {
            'x' => {
                let address: IpAddr =
                    value.parse().map_err(|_| format!("-x {}: not an IPv4 or IPv6 address", value.escape_default()))?;
                self.usual = Rtype::PTR;
                self.name(&reverse(address))
            }
            'p' => {
                self.port = number("-p", value, 1, 65_535)? as u16;
                Ok(())
            }
            'q' => self.name(value),
            't' => {
                self.rtype = Some(Rtype::from_str(value).map_err(|_| unknown_type(value))?);
                Ok(())
            }
            _ => {
                self.class = Some(
                    Class::from_str(value)
                        .map_err(|_| format!("unknown class '{}'; accepted: {CLASSES}", value.escape_default()))?,
                );
                Ok(())
            }
        }
    }

    /// A word without a mark: a type, a class, or the name.
    fn bare(&mut self, word: &str) -> Result<(), String> {
        if let (None, Ok(rtype)) = (self.rtype, Rtype::from_str(word)) {
            self.rtype = Some(rtype);
            return Ok(());
        }
        if let (None, Ok(class)) = (self.class, Class::from_str(word)) {
            self.class = Some(class);
            return Ok(());
        }
        match &self.name {
            None => self.name(word),
            Some((name, _)) if self.rtype.is_none() => {
                Err(format!("{} (the name is '{}' already)", unknown_type(word), name.escape_default()))
            }
            Some((name, _)) => Err(format!(
                "'{}' is one word too many: the name is '{}' and the type is given; {USAGE}",
                word.escape_default(),
                name.escape_default()
            )),
        }
    }

    fn name(&mut self, text: &str) -> Result<(), String> {
        if let Some((name, _)) = &self.name {
            let (text, name) = (text.escape_default(), name.escape_default());
            return Err(format!("'{text}': a second name after '{name}'; one query asks for one"));
        }
        if !text.is_ascii() {
            let text = text.escape_default();
            return Err(format!("name '{text}': not ASCII; write an international name in its xn--… form"));
        }
        let name: Name<Vec<u8>> =
            Name::from_chars(text.chars()).map_err(|error| format!("name '{}': {error}", text.escape_default()))?;
        self.name = Some((text.to_owned(), name.into_octets()));
        Ok(())
    }

    fn finish(self) -> Result<Ask, String> {
        let Some((_, name)) = self.name else {
            let hint = match (self.rtype, self.class) {
                (None, None) => "",
                _ => " (a name that is also a type or a class is written with a final dot)",
            };
            return Err(format!("no NAME given{hint}; {USAGE}"));
        };
        let rtype = self.rtype.unwrap_or(self.usual);
        if matches!(rtype, Rtype::AXFR | Rtype::IXFR) {
            return Err(format!("{rtype}: zone transfers are not available in this version"));
        }
        let on = self.switches;
        if on.short && on.json {
            return Err("+short and +json exclude each other".to_owned());
        }
        if !on.edns && (on.dnssec || on.nsid || self.bufsize.is_some()) {
            return Err("+noedns leaves no place for +dnssec, +nsid or +bufsize; drop one of them".to_owned());
        }
        Ok(Ask {
            server: self.server,
            port: self.port,
            name,
            rtype,
            class: self.class.unwrap_or(Class::IN),
            tcp: on.tcp,
            ignore: on.ignore,
            rd: on.rd,
            ad: on.ad,
            cd: on.cd,
            edns: on.edns.then_some(AskEdns {
                version: self.version,
                bufsize: self.bufsize.unwrap_or(BUFSIZE),
                dnssec: on.dnssec,
                nsid: on.nsid,
            }),
            output: match (on.short, on.json) {
                (true, _) => Output::Short,
                (_, true) => Output::Json,
                _ => Output::Full,
            },
            check: on.check,
            timeout: Duration::from_secs(self.timeout_s),
            tries: self.tries,
        })
    }
}

/// Classes as the user may write them.
const CLASSES: &str = "IN CH HS NONE ANY, or CLASS0 to CLASS65535";

/// Host and port of what followed `@`.
fn server(text: &str) -> Result<(String, Option<u16>), String> {
    let bad = |why: &str| {
        let text = text.escape_default();
        format!("'@{text}': {why}; accepted: @127.0.0.1, @127.0.0.1:5300, @::1, @[::1]:5300, @host.example:5300")
    };
    if let Ok(address) = SocketAddr::from_str(text) {
        if address.port() == 0 {
            return Err(bad("port 0 is no port"));
        }
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        return Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), Some(address.port())));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or_else(|| bad("text after the ]"))?)),
            None => return Err(bad("a [ without its ]")),
        },
        // Several colons are an IPv6 address; one stands before a port.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    if host.is_empty() {
        return Err(bad("no server named"));
    }
    match port.map(u16::from_str) {
        None => Ok((host.to_owned(), None)),
        Some(Ok(port)) if port != 0 => Ok((host.to_owned(), Some(port))),
        Some(_) => Err(bad("not a port")),
    }
}

/// The name under which an address is looked up (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let nibbles: String =
                address.octets().iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4)).collect();
            nibbles + "ip6.arpa."
        }
    }
}

fn switch(name: &str) -> Option<Place> {
    SWITCHES.iter().find(|(names, _)| names.contains(&name)).map(|&(_, place)| place)
}

fn number(what: &str, text: &str, low: u64, high: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(format!("{what}: '{}' is no number from {low} to {high}", text.escape_default())),
    }
}

fn unknown_plus(word: &str) -> String {
    let mut accepted: Vec<String> = SWITCHES.iter().map(|(names, _)| format!("+[no]{}", names[0])).collect();
    accepted.extend(NUMBERS.iter().map(|(names, ..)| format!("+{}=N", names[0])));
    format!("unknown word '+{}'; accepted: {}", word.escape_default(), accepted.join(" "))
}

fn unknown_type(word: &str) -> String {
    let accepted: Vec<&str> = (0..=u16::MAX).filter_map(|code| Rtype::from_int(code).to_mnemonic_str()).collect();
    let word = word.escape_default();
    format!("unknown type '{word}'; accepted: {}, or TYPE0 to TYPE65535", accepted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<Ask, String> {
        Ask::from_words(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    /// The refusal, which must name each of the parts.
    fn refused(line: &str, parts: &[&str]) {
        let error = ask(line).expect_err(line);
        for part in parts {
            assert!(error.contains(part), "{line:?} gave {error:?}, without {part:?}");
        }
    }

    #[test]
    fn a_name_alone_asks_for_its_ipv4_addresses() {
        let asked = ask("Www.example.test").unwrap();
        assert_eq!(asked.name, b"\x03Www\x07example\x04test\x00");
        assert_eq!((asked.rtype, asked.class, asked.server.as_ref(), asked.port), (Rtype::A, Class::IN, None, 53));
        assert_eq!((asked.rd, asked.ad, asked.cd, asked.tcp, asked.ignore), (true, false, false, false, false));
        assert_eq!(asked.edns, Some(AskEdns { version: 0, bufsize: 1232, dnssec: false, nsid: false }));
        assert_eq!((asked.output, asked.check), (Output::Full, false));
        assert_eq!((asked.timeout, asked.tries), (Duration::from_secs(5), 3));
    }

    #[test]
    fn words_come_in_any_order() {
        let asked = ask("+short TXT +nsid ch @127.0.0.1:5300 +norec version.bind. +timeout=2 +tries=1").unwrap();
        assert_eq!(asked, ask("@127.0.0.1:5300 version.bind TXT CH +tries=1 +timeout=2 +short +nsid +norec").unwrap());
        assert_eq!((asked.rtype, asked.class), (Rtype::TXT, Class::CH));
        assert_eq!(asked.server, Some(("127.0.0.1".to_owned(), Some(5300))));
        assert_eq!((asked.timeout, asked.tries, asked.rd), (Duration::from_secs(2), 1, false));
        assert!(asked.edns.unwrap().nsid);
    }

    #[test]
    fn the_last_of_contradicting_words_counts() {
        assert!(!ask("a. +tcp +notcp").unwrap().tcp);
        assert!(ask("a. +notcp +TCP").unwrap().tcp);
        assert_eq!(ask("a. +short +noshort +json").unwrap().output, Output::Json);
        assert_eq!(ask("a. +noedns").unwrap().edns, None);
        assert_eq!(ask("a. +noedns +edns=1").unwrap().edns.unwrap().version, 1);
        assert!(ask("a. +norecurse +rec").unwrap().rd);
    }

    #[test]
    fn every_switch_turns_its_own_field() {
        let all = ask("a. +tcp +ignore +norec +ad +cd +dnssec +nsid +check +bufsize=4096").unwrap();
        assert!(all.tcp && all.ignore && !all.rd && all.ad && all.cd && all.check);
        assert_eq!(all.edns, Some(AskEdns { version: 0, bufsize: 4096, dnssec: true, nsid: true }));
    }

    #[test]
    fn servers() {
        let server = |text: &str| ask(&format!("@{text} a.")).map(|asked| asked.server.unwrap());
        for (text, host, port) in [
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:5300", "::1", Some(5300)),
            ("[fe80::1%3]:53", "fe80::1%3", Some(53)),
            ("fe80::1%eth0", "fe80::1%eth0", None),
            ("192.0.2.1", "192.0.2.1", None),
            ("ns.example.test:53", "ns.example.test", Some(53)),
            ("localhost", "localhost", None),
        ] {
            assert_eq!(server(text), Ok((host.to_owned(), port)), "{text}");
        }
        assert_eq!(ask("a. @::1 -p 5300").unwrap().port, 5300);
        assert_eq!(ask("a. -p5301").unwrap().port, 5301);
        for text in ["", ":53", "[::1", "[::1]53", "127.0.0.1:0", "127.0.0.1:65536", "host:x", "[]:53"] {
            refused(&format!("a. @{text}"), &["'@", "accepted: @127.0.0.1"]);
        }
        refused("a. @::1 @::2", &["second server"]);
    }

    #[test]
    fn reverse_names() {
        let asked = ask("-x 192.0.2.17").unwrap();
        assert_eq!((asked.rtype, asked.name), (Rtype::PTR, b"\x0217\x012\x010\x03192\x07in-addr\x04arpa\0".to_vec()));
        let six = ask("-x 2001:db8::12 ANY").unwrap();
        assert_eq!(six.rtype, Rtype::ANY);
        assert_eq!(six.name.len(), 32 * 2 + 10);
        assert!(six.name.starts_with(b"\x012\x011\x010") && six.name.ends_with(b"\x012\x03ip6\x04arpa\0"));
        refused("-x example.test", &["-x example.test", "IPv4"]);
        refused("-x", &["-x needs a value"]);
    }

    #[test]
    fn types_and_classes() {
        assert_eq!(ask("a. type65280").unwrap().rtype, Rtype::from_int(65280));
        assert_eq!(ask("a. https").unwrap().rtype, Rtype::HTTPS);
        assert_eq!(ask("-q mx -t mx -c ch").unwrap().name, b"\x02mx\0");
        assert_eq!(ask("mx. mx").unwrap().name, b"\x02mx\0");
        refused("a. BOGUS", &["unknown type 'BOGUS'", " AAAA ", " SVCB ", "TYPE65535"]);
        refused("a. TYPE65536", &["unknown type 'TYPE65536'"]);
        refused("a. -t BOGUS", &["unknown type 'BOGUS'"]);
        refused("a. -c BOGUS", &["unknown class 'BOGUS'", "CLASS65535"]);
        refused("a. A b.", &["one word too many"]);
        refused("a. axfr", &["AXFR", "not available"]);
        refused("mx", &["no NAME", "final dot", "usage:"]);
        refused("", &["no NAME", "usage:"]);
    }

    #[test]
    fn bad_names() {
        refused("a..b", &["name 'a..b'"]);
        refused(&"a".repeat(64), &["name 'aaaa"]);
        refused("b\u{fc}cher.test", &["xn--"]);
        refused("-q a. -q b.", &["second name"]);
        assert_eq!(ask(".").unwrap().name, b"\0");
        assert_eq!(ask(r"a\.b\007").unwrap().name, b"\x04a.b\x07\0");
    }

    #[test]
    fn refused_words_name_the_accepted_ones() {
        refused("a. +bogus", &["'+bogus'", "+[no]tcp", "+[no]check", "+timeout=N"]);
        refused("a. +subnet=192.0.2.0/24", &["'+subnet=192.0.2.0/24'", "accepted"]);
        refused("a. +nobogus", &["'+nobogus'"]);
        refused("a. +tcp=1", &["'+tcp=1'"]);
        refused("a. -4", &["'-4'", "-x"]);
        refused("a. -\u{e9}", &["unknown option"]);
        for word in ["tls", "https", "quic", "h3", "http"] {
            refused(&format!("a. +{word}"), &["not available in this version", "+tcp"]);
        }
        refused("a. +timeout=0", &["+timeout", "1 to 300"]);
        refused("a. +tries=x", &["+tries", "1 to 20"]);
        refused("a. +bufsize=65536", &["+bufsize", "0 to 65535"]);
        refused("a. -p 0", &["-p", "1 to 65535"]);
        refused("a. +short +json", &["exclude"]);
        refused("a. +noedns +dnssec", &["+noedns"]);
        refused("a. +noedns +bufsize=512", &["+noedns"]);
    }

    #[test]
    fn help_names_every_word() {
        let words = SWITCHES.iter().map(|(names, _)| names[0]).chain(NUMBERS.iter().map(|(names, ..)| names[0]));
        for word in words {
            let named = [format!("+{word}"), format!("+no{word}")].iter().any(|spelling| HELP.contains(spelling));
            assert!(named, "{word}");
        }
    }
}
