//! Words of the format and the bits of a header that they mean.

/// Header flags, from the left.
pub(crate) const FLAGS: [(&str, u16); 7] =
    [("QR", 0x8000), ("AA", 0x0400), ("TC", 0x0200), ("RD", 0x0100), ("RA", 0x0080), ("AD", 0x0020), ("CD", 0x0010)];

/// Opcodes by number (RFC 1035 §4.1.1, RFC 1996, RFC 2136).
const OPCODES: [(&str, u16); 5] = [("QUERY", 0), ("IQUERY", 1), ("STATUS", 2), ("NOTIFY", 4), ("UPDATE", 5)];

/// Response codes by number (RFC 1035 §4.1.1, RFC 2136, RFC 6891, RFC 7873); `NOTIMPL` is another spelling.
const RCODES: [(&str, u16); 14] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

fn code(table: &[(&str, u16)], kind: &str, word: &str) -> Result<u16, String> {
    let found = table.iter().find(|(name, _)| *name == word);
    found.map(|(_, code)| *code).ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        format!("`{word}` is no {kind}: known are {}", known.join(" "))
    })
}

fn name(table: &[(&str, u16)], code: u16) -> String {
    table.iter().find(|(_, known)| *known == code).map_or_else(|| code.to_string(), |(name, _)| name.to_string())
}

pub(crate) fn flag_bit(word: &str) -> Result<u16, String> {
    code(&FLAGS, "flag", word)
}

pub(crate) fn opcode_code(word: &str) -> Result<u16, String> {
    code(&OPCODES, "opcode", word)
}

pub(crate) fn opcode_name(code: u16) -> String {
    name(&OPCODES, code)
}

pub(crate) fn rcode_code(word: &str) -> Result<u16, String> {
    code(&RCODES, "rcode", word)
}

pub(crate) fn rcode_name(code: u16) -> String {
    name(&RCODES, code)
}
