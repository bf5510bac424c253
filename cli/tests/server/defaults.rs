//! What is served with no configuration at all.

use crate::common::dns::{BOTH, NOERROR, NXDOMAIN, query};
use crate::common::server::{Server, binary};
use crate::common::skipped;

const DNS: &str = "127.0.0.1:5300";
const PAGES: &str = "127.0.0.1:8053";

#[test]
fn the_demonstration_zone_is_served_with_no_file() {
    let Some(server) = Server::start_embedded() else { return skipped(&format!("{DNS} or {PAGES} is in use")) };
    assert_eq!(server.address().to_string(), DNS);
    for via in BOTH {
        for (name, rtype, rcode, answers) in [
            ("www.example.test", "A", NOERROR, 1),
            ("www.example.test", "HTTPS", NOERROR, 1),
            ("anything.wild.example.test", "TXT", NOERROR, 1),
            ("alias.example.test", "AAAA", NOERROR, 2),
            ("example.test", "MX", NOERROR, 1),
            ("example.test", "TXT", NOERROR, 1),
            ("none.example.test", "A", NXDOMAIN, 0),
        ] {
            let reply = server.ask(via, &query(name, rtype));
            assert_eq!((reply.rcode(), reply.answer().len()), (rcode, answers), "{name} {rtype} over {via:?}");
        }
    }
    assert!(server.page("/health").starts_with("HTTP/1.1 200 "));
    assert!(server.page("/ready").starts_with("HTTP/1.1 200 "));

    // The health check of the container image.
    let check = ["query", "@127.0.0.1:5300", "www.example.test", "A", "+check"];
    let output = binary().args(check).output().expect("the binary runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("192.0.2.80"), "{out}");
    let bad = ["query", "@127.0.0.1:5300", "none.example.test", "A", "+check"];
    assert_eq!(binary().args(bad).output().expect("the binary runs").status.code(), Some(1));
}
