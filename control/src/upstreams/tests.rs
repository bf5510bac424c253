//! Names on a runtime of the test's own; the servers that are asked are the test's, and no other is.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;

use super::lookup::{Answer, testing::Resolver};
use super::*;
use crate::config;

const QUICK: Pace =
    Pace { ttl_min: Duration::from_millis(50), ttl_max: Duration::from_secs(1), retry: Duration::from_millis(20) };

/// Settings with a resolver at `resolver` and a pool of these names.
fn settings(resolver: Option<SocketAddr>, names: &[&str]) -> Settings {
    let servers: Vec<String> = names.iter().map(|name| format!("\"udp://{name}:53\"")).collect();
    let mut text = format!(
        "[[upstream]]\nname = \"origin\"\nkind = \"authoritative\"\nservers = [\"udp://192.0.2.1:53\", {}]\n",
        servers.join(", ")
    );
    if let Some(resolver) = resolver {
        text.push_str(&format!(
            "[[upstream]]\nname = \"resolver\"\nservers = [\"udp://other.test:53\", \"udp://{resolver}\"]\n"
        ));
    }
    config::parse("a test", &text, Path::new("/")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it comes in time") })
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn found(addresses: &[IpAddr], seconds: u64) -> Result<Answer, String> {
    Ok(Answer { addresses: addresses.to_vec(), ttl: Duration::from_secs(seconds) })
}

#[test]
fn names_are_asked_of_resolvers_with_addresses_and_of_the_system_where_there_are_none() {
    let resolver: SocketAddr = "127.0.0.1:5399".parse().unwrap();
    let Whom::Servers(servers) = whom(&settings(Some(resolver), &["a.test"])) else { panic!("there is a resolver") };
    assert_eq!(servers.iter().map(|server| server.address).collect::<Vec<_>>(), [resolver]);
    assert_eq!(whom(&settings(None, &["a.test"])), Whom::System, "an origin is no resolver");
}

#[test]
fn addresses_are_found_followed_and_kept_when_nobody_answers() {
    let addresses = std::sync::Arc::new(Mutex::new(vec![ip(7)]));
    let resolver = Resolver::start({
        let addresses = std::sync::Arc::clone(&addresses);
        move |query| {
            let addresses = addresses.lock().unwrap();
            (!addresses.is_empty()).then(|| query.with(&addresses, 0))
        }
    });
    let mut names = Names::new(QUICK);
    names.want(&settings(Some(resolver.address), &["a.test"]));
    assert_eq!(names.figures().unresolved, 2, "and other.test");
    let known = |resolved: &Resolved| resolved.get(&name("a.test")).cloned().unwrap_or_default();
    run(async {
        let mut resolved = names.change().await;
        while known(&resolved).is_empty() {
            resolved = names.change().await;
        }
        assert_eq!(known(&resolved), [ip(7)]);
        *addresses.lock().unwrap() = vec![ip(9), ip(8)];
        // The other name, too: nothing that is still to come may be news.
        while !resolved.values().all(|known| *known == [ip(8), ip(9)]) {
            resolved = names.change().await;
        }
        // Nobody answers: nothing changes, and it is tried again and again.
        addresses.lock().unwrap().clear();
        let failures = names.figures().failures;
        let silent = tokio::time::timeout(Duration::from_secs(8), names.change()).await;
        assert!(silent.is_err(), "{silent:?}");
        assert!(names.figures().failures > failures, "{:?}", names.figures());
        assert_eq!(names.figures().unresolved, 0);
        assert_eq!(known(&names.resolved()), [ip(8), ip(9)]);
        *addresses.lock().unwrap() = vec![ip(1)];
        while known(&resolved) != [ip(1)] {
            resolved = names.change().await;
        }
    });
}

#[test]
fn what_is_found_counts_family_by_family() {
    let mut names = Names::new(PACE);
    names.want(&settings(None, &["a.test"]));
    let a = name("a.test");
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let (none, failed) = (|| found(&[], 0), || Err("it is late".to_owned()));
    // Both families, the one that has none does not count for how long it holds.
    let wait = |names: &Names| {
        let left = names.entries[&a].due.unwrap() - Instant::now();
        [5, 30, 600, 3_600].into_iter().find(|seconds| left <= Duration::from_secs(*seconds)).unwrap()
    };
    assert!(names.take(&a, [found(&[ip(1)], 600), none()]));
    assert_eq!((names.resolved()[&a].clone(), wait(&names)), (vec![ip(1)], 600));
    assert!(!names.take(&a, [found(&[ip(1)], 1), none()]), "the same again");
    assert_eq!(wait(&names), 30, "and not too soon");
    assert!(names.take(&a, [failed(), found(&[six], 86_400)]));
    assert_eq!((names.resolved()[&a].clone(), wait(&names)), (vec![ip(1), six], 5), "one family alone");
    assert!(names.take(&a, [none(), found(&[six], 86_400)]));
    assert_eq!((names.resolved()[&a].clone(), wait(&names)), (vec![six], 3_600));
    // What has no address any more keeps the last.
    assert!(!names.take(&a, [none(), none()]));
    assert_eq!((names.resolved()[&a].clone(), wait(&names)), (vec![six], 5));
    assert_eq!(names.entries[&a].trouble.as_deref(), Some("it has no address"));
    assert_eq!(names.figures(), Figures { unresolved: 0, look_ups: 0, failures: 2 });
}

#[test]
fn names_that_are_not_wanted_any_more_are_forgotten_and_those_that_stay_are_not() {
    let mut names = Names::new(PACE);
    names.want(&settings(None, &["a.test", "b.test"]));
    assert!(names.take(&name("a.test"), [found(&[ip(1)], 60), found(&[], 0)]));
    assert!(names.take(&name("b.test"), [found(&[ip(2)], 60), found(&[], 0)]));
    names.want(&settings(None, &["b.test", "c.test"]));
    assert!(!names.take(&name("a.test"), [found(&[ip(3)], 60), found(&[], 0)]), "too late");
    let resolved = names.resolved();
    assert_eq!((resolved.len(), &resolved[&name("b.test")]), (2, &vec![ip(2)]));
    assert_eq!(names.figures().unresolved, 1);
}

#[test]
fn few_names_are_looked_up_at_once() {
    let silent = Resolver::start(|_| None);
    let mut names = Names::new(PACE);
    let many: Vec<String> = (0..20).map(|number| format!("n{number}.test")).collect();
    names.want(&settings(Some(silent.address), &many.iter().map(String::as_str).collect::<Vec<_>>()));
    run(async {
        let silent = tokio::time::timeout(Duration::from_millis(200), names.change()).await;
        assert!(silent.is_err(), "{silent:?}");
    });
    assert_eq!((names.look_ups.len(), names.figures().look_ups), (LOOK_UPS_MAX, LOOK_UPS_MAX as u64));
    assert_eq!(names.next(), None, "the others wait for an end");
}

#[test]
fn nothing_is_waited_for_where_there_are_no_names() {
    let mut names = Names::new(PACE);
    names.want(&settings(None, &[]));
    run(async {
        assert!(tokio::time::timeout(Duration::from_millis(50), names.change()).await.is_err());
    });
    assert_eq!(names.figures(), Figures::default());
}
