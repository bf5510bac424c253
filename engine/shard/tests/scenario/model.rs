//! A case as both readers give it: the text reader of our own `.rpl` files and the JSON lines of the public suites.
//!
//! The field names are those of the JSON form, which the README beside those files describes. What a file says in raw
//! words (`match`, `reply_flags`) stands beside what is read from them (`compare`, `flags`); only the latter is acted
//! on. Everything can be written back as JSON: that is how the JSON reader shows that nothing got lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whose habits a case was written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Suite {
    #[default]
    Ringdns,
    Unbound,
    Deckard,
    Stelline,
}

/// One scripted test: the configuration, what the world answers, and what happens.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) suite: Suite,
    pub(crate) source: String,
    pub(crate) title: String,
    pub(crate) tier: u8,
    pub(crate) why: Vec<String>,
    pub(crate) features: Vec<String>,
    pub(crate) duplicates: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    pub(crate) config: Config,
    pub(crate) crypto: Crypto,
    pub(crate) ranges: Vec<Range>,
    pub(crate) steps: Vec<Step>,
}

/// What the engine is set up with; `None`: not said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) root_hints: Vec<Hint>,
    pub(crate) stub_zones: Vec<ZoneClause>,
    pub(crate) forward_zones: Vec<ZoneClause>,
    pub(crate) auth_zones: Vec<AuthZone>,
    pub(crate) rpz: Vec<ZoneClause>,
    pub(crate) views: Vec<Value>,
    pub(crate) trust_anchors: Vec<String>,
    pub(crate) trust_anchor_files: Vec<AnchorFile>,
    pub(crate) insecure: Vec<String>,
    pub(crate) validate: bool,
    /// Seconds since 1970, or the word `off`.
    pub(crate) now: Option<Value>,
    pub(crate) now_moves: bool,
    pub(crate) qname_minimisation: Option<bool>,
    pub(crate) ip4: Option<bool>,
    pub(crate) ip6: Option<bool>,
    pub(crate) minimal_responses: Option<bool>,
    pub(crate) aggressive_nsec: Option<bool>,
    pub(crate) harden: BTreeMap<String, bool>,
    pub(crate) serve_expired: BTreeMap<String, Value>,
    /// `min`, `max`, `max_negative`, in seconds.
    pub(crate) ttl: BTreeMap<String, u64>,
    pub(crate) prefetch: Option<bool>,
    pub(crate) prefetch_key: Option<bool>,
    pub(crate) dns64: BTreeMap<String, Vec<String>>,
    pub(crate) private_addresses: Vec<String>,
    pub(crate) private_domains: Vec<String>,
    pub(crate) local_zones: Vec<Vec<String>>,
    pub(crate) local_data: Vec<String>,
    /// Network and what it may do.
    pub(crate) access_control: Vec<Vec<String>>,
    pub(crate) do_not_query_localhost: Option<bool>,
    pub(crate) modules: Option<Vec<String>>,
    pub(crate) target_fetch_policy: Option<String>,
    pub(crate) ede: Option<bool>,
    pub(crate) fake_sha1: bool,
    pub(crate) fake_dsa: bool,
    pub(crate) rrset_roundrobin: Option<bool>,
    pub(crate) nsid: Option<String>,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Inline files, referred to as `@file:name`.
    pub(crate) files: BTreeMap<String, String>,
    /// Options without a field of their own: each use is a list of words.
    pub(crate) other: BTreeMap<String, Vec<Vec<String>>>,
}

/// Where names go by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Iterate,
    Forward,
    Stub,
    Auth,
    Local,
    #[default]
    None,
}

/// Servers of the root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) name: Option<String>,
    pub(crate) addresses: Vec<String>,
}

/// A `stub-zone:`, `forward-zone:`, `auth-zone:` or `rpz:` clause.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ZoneClause {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) options: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
}

/// A zone to be served.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AuthZone {
    Clause(ZoneClause),
    /// Known by its file alone, whose SOA names it.
    File {
        file: String,
    },
}

/// A file of trust anchors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AnchorFile {
    pub(crate) kind: String,
    pub(crate) file: String,
}

/// What the signatures of a case need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crypto {
    pub(crate) algorithms: Vec<u8>,
    pub(crate) ds_digests: Vec<u8>,
    pub(crate) rsa_bits_min: Option<u32>,
}

/// Answers of name servers, in force from one step to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) line: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// The servers meant; none: all.
    pub(crate) addresses: Vec<String>,
    pub(crate) entries: Vec<Entry>,
}

/// A message to send, to expect, or to answer with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) line: u32,
    #[serde(rename = "match")]
    pub(crate) match_words: Option<Vec<String>>,
    pub(crate) adjust: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mandatory: bool,
    #[serde(flatten)]
    pub(crate) packet: Packet,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra_packets: Vec<Packet>,
    pub(crate) edns: Option<Edns>,
    /// What is compared, a word each: `qname`, `rcode`, `answer`, …
    pub(crate) compare: Vec<String>,
    pub(crate) conditions: Conditions,
}

/// Header, question and sections, without the OPT record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packet {
    pub(crate) reply_flags: Vec<String>,
    /// `owner class type`.
    pub(crate) question: Vec<String>,
    /// `owner ttl class type rdata`, as are the other two.
    pub(crate) answer: Vec<String>,
    pub(crate) authority: Vec<String>,
    pub(crate) additional: Vec<String>,
    /// Hex digits of the whole packet, in place of all else.
    pub(crate) raw: Option<String>,
    pub(crate) opcode: String,
    pub(crate) rcode: String,
    pub(crate) flags: Vec<String>,
}

/// The OPT record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edns {
    pub(crate) version: u8,
    pub(crate) udp: u16,
    #[serde(rename = "do")]
    pub(crate) dnssec_ok: bool,
    /// Hex digits of the options.
    pub(crate) data: String,
}

/// What must hold beside the fields compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// `udp` or `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ede: Option<Ede>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cookie: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) noedns: bool,
    /// Flags that must be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) set: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) any_answer: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) extra_packets: bool,
}

/// The extended error (RFC 8914) that a reply must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ede {
    Code(u16),
    Word(EdeWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EdeWord {
    /// Some code.
    Any,
    /// No code at all (ours).
    None,
}

/// One event or check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) n: u32,
    pub(crate) line: u32,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happens in a step. The last group is ours alone; the head of `scenario.rs` describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Event {
    Query {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        entry: Box<Entry>,
    },
    CheckAnswer {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        entry: Box<Entry>,
    },
    CheckOutQuery {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        entry: Box<Entry>,
    },
    Reply {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The shard must take no notice of it (ours).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ignored: bool,
        /// Another sender than the server asked (ours).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        entry: Box<Entry>,
    },
    Timeout,
    Error,
    TimePasses {
        seconds: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expr: Option<String>,
    },
    Traffic,
    Nothing,
    Assign {
        var: String,
        expr: String,
        value: Option<String>,
    },
    CheckAutotrust {
        file: String,
        lines: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expanded: Option<Vec<Option<String>>>,
        keys: Vec<AnchorState>,
    },
    CheckTempfile {
        file: String,
        lines: Vec<String>,
    },

    CheckOutCount {
        count: usize,
    },
    CheckSilence,
    CheckServer {
        address: String,
        standing: String,
    },
    Flush {
        /// None: all names.
        name: Option<String>,
        subtree: bool,
    },
    /// All queries that are out are lost.
    Lose,
    /// What the cache holds goes out, and into the cache of a new shard.
    Restart,
    CheckLogged {
        entry: String,
    },
    CheckCounter {
        name: String,
        value: u64,
    },
}

/// A key of RFC 5011 and the state it is in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AnchorState {
    pub(crate) record: String,
    pub(crate) state: String,
}
