//! Zones that live: on cores that are none, with a primary on loopback.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::primary::{Mood, Primary};
use super::*;
use crate::config::Source;
use crate::cores::fake::Fake;
use crate::zones::{Notifier, notices};

/// Longer than anything here takes on a busy machine: zones are prepared at the lowest priority.
const PATIENCE: Duration = Duration::from_secs(120);

struct Scene {
    runtime: Runtime,
    life: Life,
    cores: Arc<Fake>,
    notifier: Notifier,
    reports: Vec<Report>,
    folder: TempDir,
}

/// A zone whose serial is its content, refreshed every hour, retried every second, expired after `expire` seconds.
fn text(serial: u32, expire: u32) -> String {
    let mut text = format!("$TTL 60\n@ SOA ns h {serial} 3600 1 {expire} 60\n@ NS ns\nns A 192.0.2.1\n");
    for number in 0..200 {
        text += &format!("h{number} A 192.0.2.{number}\n");
    }
    text + &format!("www A 192.0.2.{serial}\n")
}

impl Scene {
    fn new(folder: TempDir, configuration: &str) -> Scene {
        let path = folder.path().join("r.toml");
        fs::write(&path, configuration).unwrap();
        let source = Source::File(path);
        let settings = source.read().unwrap_or_else(|why| panic!("{why}"));
        let plane = Plane::open(source, settings, &[0, 1]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cores = Arc::new(Fake::default());
        let (notifier, notices) = notices();
        let life = {
            let _guard = runtime.enter();
            Life::new(plane, Arc::clone(&cores) as Arc<dyn Cores>, notices).unwrap()
        };
        Scene { runtime, life, cores, notifier, reports: Vec::new(), folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Lives until `is_so`, or for so long.
    fn live(&mut self, limit: Duration, mut is_so: impl FnMut(&Life, &Fake) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !is_so(&self.life, &self.cores) {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            let slice = left.min(Duration::from_millis(50));
            let happening = self.runtime.block_on(async { tokio::time::timeout(slice, self.life.happening()).await });
            let _guard = self.runtime.enter();
            if let Ok(happening) = happening {
                self.reports.extend(self.life.on(happening));
            }
            self.life.tick();
        }
        true
    }

    #[track_caller]
    fn wait(&mut self, what: &str, is_so: impl FnMut(&Life, &Fake) -> bool) {
        let came = self.live(PATIENCE, is_so);
        assert!(came, "{what}: {:?}", self.life.figures());
    }

    /// Waits until the cores have this serial of a zone; `None`: they give SERVFAIL.
    #[track_caller]
    fn serves(&mut self, apex: &str, serial: Option<u32>) {
        self.wait(&format!("{apex} {serial:?}"), |_, cores| on_cores(cores, apex) == serial);
    }

    #[track_caller]
    fn reload(&mut self) -> Report {
        let _guard = self.runtime.enter();
        self.life.reload();
        drop(_guard);
        let before = self.reports.len();
        let end = Instant::now() + PATIENCE;
        while self.reports.len() == before && Instant::now() < end {
            self.live(Duration::from_millis(1), |_, _| false);
        }
        self.reports.pop().expect("a reload comes to an end")
    }

    /// Ends this life, and begins another with the same files.
    fn restart(self) -> Scene {
        let configuration = fs::read_to_string(self.path("r.toml")).unwrap();
        let Scene { runtime, life, folder, .. } = self;
        drop(life);
        drop(runtime);
        Scene::new(folder, &configuration)
    }

    fn restart_with(self, configuration: &str) -> Scene {
        fs::write(self.path("r.toml"), configuration).unwrap();
        self.restart()
    }
}

/// The serial that both cores have of a zone.
fn on_cores(cores: &Fake, apex: &str) -> Option<u32> {
    let apex: Name = apex.parse().unwrap();
    let swaps = cores.swaps.lock().unwrap();
    let serials: Vec<Option<u32>> = swaps
        .last()?
        .iter()
        .map(|images| {
            let zone = images.zones.iter().find(|zone| zone.about.apex == apex)?;
            Some(zone.image.as_ref()?.serial())
        })
        .collect();
    assert_eq!(serials[0], serials[1]);
    serials[0]
}

fn secondary(primaries: &[&Primary]) -> String {
    let primaries: Vec<String> = primaries.iter().map(|primary| format!("\"{}\"", primary.address)).collect();
    format!("[[zone]]\nname = \"a.test\"\nprimaries = [{}]\nallow_transfer = [\"127.0.0.1\"]\n", primaries.join(", "))
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_zone_is_transferred_and_follows_its_primary_by_differences() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    for serial in 2..=12 {
        primary.change(&text(serial, 600));
        scene.notifier.notified("a.test".parse().unwrap(), Some(serial), primary.address.ip());
        scene.serves("a.test", Some(serial));
    }
    let figures = scene.life.figures();
    assert_eq!((figures.transfers_whole, figures.transfers_differences, figures.refreshes_failed), (1, 11, 0));
    // A second NOTIFY with nothing new asks nobody.
    let asked = primary.asked().len();
    scene.notifier.notified("a.test".parse().unwrap(), Some(12), primary.address.ip());
    scene.wait("the idle notice", |life, _| life.figures().notices_in_idle == 1);
    assert_eq!(primary.asked().len(), asked);
    // Whoever had the second version gets what came after it.
    let journal = scene.cores.swaps.lock().unwrap().last().unwrap()[0].zones[0].about.journal.clone();
    assert_eq!(journal.since(2).map(<[_]>::len), Some(10));
}

#[test]
fn a_copy_is_served_at_once_after_a_restart_and_its_journal_too() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    for serial in 2..=5 {
        primary.change(&text(serial, 600));
        scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
        scene.serves("a.test", Some(serial));
    }
    primary.be(Mood::Refusing);
    let scene = scene.restart();
    let served: Vec<u32> = scene.life.plane().zones().map(|zone| zone.image().serial()).collect();
    assert_eq!(served, [5]);
    let journal = scene.life.plane().zones().next().unwrap().journal().clone();
    assert_eq!(journal.since(1).map(<[_]>::len), Some(4));
    let whole = super::primary::image("a.test", &text(5, 600));
    assert!(scene.life.plane().zones().next().unwrap().image().each_record().eq(whole.each_record()));
}

#[test]
fn a_torn_journal_is_cut_and_the_zone_catches_up() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    for serial in 2..=4 {
        primary.change(&text(serial, 600));
        scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
        scene.serves("a.test", Some(serial));
    }
    let journal = scene.path("state/zones/a.test.journal");
    let octets = fs::read(&journal).unwrap();
    fs::write(&journal, &octets[..octets.len() - 5]).unwrap();
    let mut scene = scene.restart();
    assert_eq!(scene.life.plane().zones().next().unwrap().image().serial(), 3);
    scene.serves("a.test", Some(4));
    let scene = scene.restart();
    assert_eq!(scene.life.plane().zones().next().unwrap().image().serial(), 4, "and it is whole again");
}

#[test]
fn a_damaged_copy_is_transferred_anew() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    fs::write(scene.path("state/zones/a.test.zone"), "a.test. 60 IN SOA nonsense\n").unwrap();
    let mut scene = scene.restart();
    assert_eq!(scene.life.plane().zones().count(), 0);
    scene.serves("a.test", Some(1));
}

#[test]
fn what_is_broken_changes_nothing() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    primary.change(&text(2, 600));
    primary.be(Mood::Breaking);
    scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
    scene.wait("the failure", |life, _| life.figures().transfers_failed > 0);
    assert_eq!(on_cores(&scene.cores, "a.test"), Some(1));
    primary.be(Mood::Honest);
    scene.serves("a.test", Some(2));
}

#[test]
fn a_primary_that_knows_no_differences_gives_the_whole() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    for (serial, mood) in [(2, Mood::Old), (3, Mood::Confused)] {
        primary.be(mood);
        primary.change(&text(serial, 600));
        scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
        scene.serves("a.test", Some(serial));
        assert!(primary.asked().ends_with(&[251, 252]), "{:?}", primary.asked());
    }
    assert_eq!(scene.life.figures().transfers_whole, 3);
    let whole = super::primary::image("a.test", &text(3, 600));
    assert!(scene.life.plane().zones().next().unwrap().image().each_record().eq(whole.each_record()));
    // What changed is known all the same.
    let journal = scene.life.plane().zones().next().unwrap().journal().clone();
    assert_eq!(journal.since(1).map(<[_]>::len), Some(2));
}

#[test]
fn the_next_primary_is_asked_where_one_is_of_no_use() {
    let (first, second) = (Primary::start("a.test", &text(1, 600)), Primary::start("a.test", &text(2, 600)));
    first.be(Mood::Refusing);
    let mut scene = Scene::new(folder(), &secondary(&[&first, &second]));
    scene.serves("a.test", Some(2));
    assert_eq!(scene.life.figures().refreshes_failed, 1);
}

#[test]
fn a_zone_expires_and_lives_again() {
    let primary = Primary::start("a.test", &text(1, 1));
    let configuration = secondary(&[&primary]);
    let mut scene = Scene::new(folder(), &configuration);
    scene.serves("a.test", Some(1));
    primary.be(Mood::Refusing);
    let copy = scene.path("state/zones/a.test.zone");
    // As if it had been known fresh two hours ago: refresh and retry together are the least that a zone lives.
    let old = std::time::SystemTime::now() - Duration::from_secs(7_200);
    fs::File::options().write(true).open(&copy).unwrap().set_modified(old).unwrap();
    let mut scene = scene.restart();
    scene.wait("the end", |life, _| life.figures().expired == 1);
    scene.serves("a.test", None);
    primary.be(Mood::Honest);
    scene.serves("a.test", Some(1));
    assert_eq!(scene.life.figures().transfers_whole, 0, "the same serial is the same zone");
    scene.wait("the note that it is fresh", |_, _| fs::metadata(&copy).unwrap().modified().unwrap() > old);
}

#[test]
fn a_primary_with_an_older_serial_is_not_followed() {
    let primary = Primary::start("a.test", &text(5, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(5));
    primary.change(&text(4, 600));
    scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
    scene.wait("the failure", |life, _| life.figures().refreshes_failed > 0);
    assert_eq!((on_cores(&scene.cores, "a.test"), scene.life.figures().transfers_failed), (Some(5), 0));
}

#[test]
fn a_reload_goes_on_with_the_zones_that_are_here() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    let whole = scene.life.figures().transfers_whole;
    fs::write(scene.path("b.zone"), text(7, 600)).unwrap();
    let more = "[[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\n";
    fs::write(scene.path("r.toml"), format!("{}{more}", secondary(&[&primary]))).unwrap();
    assert_eq!(scene.reload().unwrap().read, 1);
    assert_eq!((on_cores(&scene.cores, "a.test"), on_cores(&scene.cores, "b.test")), (Some(1), Some(7)));
    primary.change(&text(2, 600));
    scene.notifier.notified("a.test".parse().unwrap(), Some(2), primary.address.ip());
    scene.serves("a.test", Some(2));
    assert_eq!(scene.life.figures().transfers_whole, whole);
    fs::write(scene.path("r.toml"), more).unwrap();
    scene.reload().unwrap();
    assert_eq!((on_cores(&scene.cores, "a.test"), on_cores(&scene.cores, "b.test")), (None, Some(7)));
    assert!(matches!(scene.reload(), Ok(reloaded) if reloaded.read == 0 && reloaded.unchanged == 1));
    fs::write(scene.path("r.toml"), "nonsense").unwrap();
    assert!(matches!(scene.reload(), Err(NotReloaded::Refused(_))));
    scene.cores.hears.store(false, Ordering::Relaxed);
    fs::write(scene.path("r.toml"), more).unwrap();
    assert!(matches!(scene.reload(), Err(NotReloaded::Cores(_))));
}

#[test]
fn replaced_versions_are_kept_as_long_as_somebody_reads_them() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    let held = scene.cores.swaps.lock().unwrap().last().unwrap()[1].zones[0].image.clone().unwrap();
    primary.change(&text(2, 600));
    scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
    scene.serves("a.test", Some(2));
    scene.cores.swaps.lock().unwrap().drain(..);
    scene.live(Duration::from_millis(100), |_, _| false);
    assert_eq!(scene.life.figures().retired, 1);
    drop(held);
    scene.wait("the end of the old version", |life, _| life.figures().retired == 0);
}

#[test]
fn members_of_a_catalog_come_live_and_go() {
    let catalog = |serial: u32, members: &[&str]| {
        let mut text =
            format!("$TTL 0\n@ SOA invalid. invalid. {serial} 3600 1 600 0\n@ NS invalid.\nversion TXT \"2\"\n");
        for (number, member) in members.iter().enumerate() {
            text += &format!("m{number}.zones PTR {member}.\n");
        }
        text
    };
    let of_catalog = Primary::start("c.test", &catalog(1, &["a.test"]));
    let member = Primary::start("a.test", &text(1, 600));
    let configuration = format!(
        "[[zone]]\nname = \"c.test\"\ncatalog = true\nprimaries = [\"{}\"]\n[[template]]\ncatalog = \"c.test\"\n\
         primaries = [\"{}\"]\nmember_of = \"made.test\"\n[[zone]]\nname = \"made.test\"\n",
        of_catalog.address, member.address
    );
    let mut scene = Scene::new(folder(), &configuration);
    scene.serves("a.test", Some(1));
    // The catalog that is made here lists it, too.
    let listed = |life: &Life| {
        let made = life.plane().zones().find(|zone| zone.name().to_string() == "made.test.");
        made.map(|made| crate::catalog::read(made.image()).unwrap().members.len())
    };
    scene.wait("the made catalog", |life, _| listed(life) == Some(1));

    member.be(Mood::Refusing);
    of_catalog.be(Mood::Refusing);
    let mut scene = scene.restart();
    assert_eq!(scene.life.plane().zones().count(), 3, "catalogs and member are there at once");
    assert_eq!(listed(&scene.life), Some(1));

    of_catalog.be(Mood::Honest);
    of_catalog.change(&catalog(2, &[]));
    scene.notifier.notified("c.test".parse().unwrap(), None, of_catalog.address.ip());
    scene.wait("the member's end", |life, _| life.plane().zones().all(|zone| zone.name().to_string() != "a.test."));
    scene.wait("the catalog without it", |life, _| listed(life) == Some(0));
    assert!(!scene.path("state/zones/a.test.zone").exists());

    member.be(Mood::Honest);
    of_catalog.change(&catalog(3, &["a.test"]));
    scene.notifier.notified("c.test".parse().unwrap(), None, of_catalog.address.ip());
    scene.serves("a.test", Some(1));
}

#[test]
fn a_server_is_told_of_each_change_and_one_that_refuses_is_told_once() {
    let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = folder();
    fs::write(folder.path().join("a.zone"), text(1, 600)).unwrap();
    let configuration = format!("[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\nnotify = [\"{address}\"]\n");
    let (send, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let mut rcodes = [0, 0, 5].into_iter();
        while let (Ok((octets, from)), Some(rcode)) = (listener.recv_from(&mut buffer), rcodes.next()) {
            let mut reply = buffer[..octets].to_vec();
            reply[2] |= 0x80;
            reply[3] = rcode;
            // The serial of the SOA that comes along.
            let _ = send.send(u32::from_be_bytes(*buffer[octets - 20..].first_chunk().unwrap()));
            let _ = listener.send_to(&reply, from);
        }
    });
    let mut scene = Scene::new(folder, &configuration);
    scene.wait("the first notice", |life, _| life.figures().notices_out == 1);
    for serial in [2, 3] {
        fs::write(scene.path("a.zone"), text(serial, 600)).unwrap();
        scene.reload().unwrap();
        scene.wait("the notice", |life, _| {
            let figures = life.figures();
            figures.notices_out + figures.notices_out_failed == u64::from(serial)
        });
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(scene.life.figures().notices_out_failed, 1);
}

#[test]
fn a_zone_may_become_a_copy_and_a_copy_a_zone() {
    let primary = Primary::start("a.test", &text(9, 600));
    let folder = folder();
    fs::write(folder.path().join("a.zone"), text(5, 600)).unwrap();
    let file = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\nallow_transfer = [\"127.0.0.1\"]\n";
    let mut scene = Scene::new(folder, file);
    fs::write(scene.path("r.toml"), secondary(&[&primary])).unwrap();
    scene.reload().unwrap();
    scene.serves("a.test", Some(9));
    fs::write(scene.path("r.toml"), file).unwrap();
    scene.reload().unwrap();
    scene.serves("a.test", Some(5));
    let scene = scene.restart_with(&secondary(&[&primary]));
    assert_eq!(scene.life.plane().zones().next().unwrap().image().serial(), 9);
}

#[test]
fn a_zone_larger_than_it_may_be_is_not_taken() {
    let primary = Primary::start("a.test", &text(1, 600));
    let limit = "[limits]\ntransfer = \"64KiB\"\n";
    let mut scene = Scene::new(folder(), &format!("{limit}{}", secondary(&[&primary])));
    scene.serves("a.test", Some(1));
    let mut large = text(2, 600);
    for number in 0..3_000 {
        large += &format!("l{number} A 192.0.2.1\n");
    }
    primary.change(&large);
    scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
    scene.wait("the failure", |life, _| life.figures().transfers_failed > 0);
    assert_eq!(on_cores(&scene.cores, "a.test"), Some(1));
}

#[test]
fn a_zone_does_not_grow_by_differences_beyond_what_it_may_be() {
    let mut large = text(1, 600);
    let primary = Primary::start("a.test", &large);
    let limit = "[limits]\ntransfer = \"64KiB\"\n";
    let mut scene = Scene::new(folder(), &format!("{limit}{}", secondary(&[&primary])));
    scene.serves("a.test", Some(1));
    // Each step is small enough; together they are not.
    let mut refused = None;
    for serial in 2..40 {
        for number in 0..700 {
            large += &format!("s{serial}l{number} A 192.0.2.1\n");
        }
        large = large.replace(&format!(" h {} ", serial - 1), &format!(" h {serial} "));
        primary.change(&large);
        scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
        scene.wait("an end", |life, cores| {
            on_cores(cores, "a.test") == Some(serial) || life.figures().transfers_failed > 0
        });
        if scene.life.figures().transfers_failed > 0 {
            refused = Some(serial);
            break;
        }
    }
    assert!(refused.is_some_and(|serial| serial > 3), "{refused:?}: {:?}", scene.life.figures());
    assert_eq!(on_cores(&scene.cores, "a.test"), refused.map(|serial| serial - 1));
}

#[test]
fn forged_answers_are_passed_over_and_one_without_udp_is_asked_over_tcp() {
    let primary = Primary::start("a.test", &text(1, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(1));
    primary.change(&text(2, 600));
    for mood in [Mood::Forged, Mood::WithoutUdp] {
        primary.be(mood);
        let serial = if mood == Mood::Forged { 2 } else { 3 };
        primary.change(&text(serial, 600));
        let asked = primary.asked().len();
        scene.notifier.notified("a.test".parse().unwrap(), None, primary.address.ip());
        scene.serves("a.test", Some(serial));
        let over_tcp = primary.asked()[asked..].iter().filter(|qtype| **qtype == 6).count();
        assert_eq!(over_tcp, if mood == Mood::Forged { 1 } else { 3 }, "{mood:?}: UDP is counted, too");
    }
    assert_eq!(scene.life.figures().refreshes_failed, 0);
}

#[test]
fn a_member_without_a_template_comes_when_there_is_one() {
    let catalog = "$TTL 0\n@ SOA invalid. invalid. 1 3600 1 600 0\n@ NS invalid.\nversion TXT \"2\"\n\
                   m.zones PTR a.test.\ngroup.m.zones TXT \"blue\"\n";
    let (of_catalog, member) = (Primary::start("c.test", catalog), Primary::start("a.test", &text(1, 600)));
    let zone = format!("[[zone]]\nname = \"c.test\"\ncatalog = true\nprimaries = [\"{}\"]\n", of_catalog.address);
    let template = |group: &str| {
        let (primary, within) = (member.address, "within = [\"test\"]\n");
        format!("{zone}[[template]]\ncatalog = \"c.test\"\ngroup = \"{group}\"\nprimaries = [\"{primary}\"]\n{within}")
    };
    let mut scene = Scene::new(folder(), &template("red"));
    scene.serves("c.test", Some(1));
    assert_eq!(on_cores(&scene.cores, "a.test"), None);
    for (group, serial) in [("blue", Some(1)), ("red", None), ("blue", Some(1))] {
        fs::write(scene.path("r.toml"), template(group)).unwrap();
        scene.reload().unwrap();
        scene.serves("a.test", serial);
    }
}

/// A file that another includes, and one in another folder behind a link.
fn watched() -> Scene {
    let folder = folder();
    let base = folder.path();
    for sub in ["zones", "elsewhere"] {
        fs::create_dir(base.join(sub)).unwrap();
    }
    fs::write(base.join("zones/a.zone"), "$INCLUDE a.records\n").unwrap();
    fs::write(base.join("zones/a.records"), text(1, 600)).unwrap();
    fs::write(base.join("elsewhere/b.zone"), text(1, 600)).unwrap();
    std::os::unix::fs::symlink("../elsewhere/b.zone", base.join("zones/b.zone")).unwrap();
    let zones = "[[zone]]\nname = \"a.test\"\nfile = \"zones/a.zone\"\n[[zone]]\nname = \"b.test\"\n\
                 file = \"zones/b.zone\"\n";
    Scene::new(folder, &format!("[server]\nwatch = true\n{zones}"))
}

impl Scene {
    /// Waits for the change, and reads it.
    #[track_caller]
    fn follows(&mut self, apex: &str, serial: u32) {
        self.wait(&format!("the change to {serial}"), |life, _| life.files_have_changed);
        assert!(self.life.files_have_changed());
        let report = self.reload();
        assert!(report.is_ok_and(|reloaded| reloaded.faults.is_empty()));
        assert_eq!(on_cores(&self.cores, apex), Some(serial));
    }

    /// Whether nothing is to be read, and nobody looks any more, after a while: word of what is read already may come late.
    fn rests(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.live(PATIENCE, |life, _| life.watch.next().is_none());
            if !self.live(Duration::from_millis(700), |life, _| life.files_have_changed || life.watch.next().is_some())
            {
                return true;
            }
            if self.life.files_have_changed {
                return false;
            }
        }
        false
    }
}

#[test]
fn files_that_change_are_read_where_they_are_watched() {
    let mut scene = watched();
    assert!(scene.rests());
    fs::write(scene.path("zones/a.records"), text(2, 600)).unwrap();
    scene.follows("a.test", 2);
    assert!(scene.rests(), "it is served now");
    fs::write(scene.path("zones/a.new"), text(3, 600)).unwrap();
    fs::rename(scene.path("zones/a.new"), scene.path("zones/a.records")).unwrap();
    scene.follows("a.test", 3);
    fs::write(scene.path("elsewhere/b.zone"), text(2, 600)).unwrap();
    scene.follows("b.test", 2);
    // A file with mistakes is read once, and again when it has changed.
    fs::write(scene.path("elsewhere/b.zone"), "nonsense").unwrap();
    scene.wait("the mistake", |life, _| life.files_have_changed);
    assert!(scene.life.files_have_changed());
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    assert!(scene.rests());
    assert_eq!(on_cores(&scene.cores, "b.test"), Some(2));
    fs::write(scene.path("elsewhere/b.zone"), text(3, 600)).unwrap();
    scene.follows("b.test", 3);
    assert_eq!(scene.life.blind, None);
}

#[test]
fn a_folder_that_is_gone_is_looked_for_by_time_and_watched_when_it_is_back() {
    let mut scene = watched();
    assert!(scene.rests());
    fs::rename(scene.path("elsewhere"), scene.path("away")).unwrap();
    scene.wait("the trouble", |life, _| life.blind.is_some());
    assert!(scene.life.blind.as_ref().unwrap().contains("elsewhere cannot be watched"));
    scene.wait("the missing file", |life, _| life.files_have_changed);
    assert!(scene.life.files_have_changed());
    fs::create_dir(scene.path("elsewhere")).unwrap();
    fs::write(scene.path("elsewhere/b.zone"), text(5, 600)).unwrap();
    scene.follows("b.test", 5);
    scene.wait("the watch", |life, _| life.blind.is_none());
    fs::write(scene.path("elsewhere/b.zone"), text(6, 600)).unwrap();
    scene.follows("b.test", 6);
}

#[test]
fn watching_begins_and_ends_with_a_reload() {
    let mut scene = watched();
    let with = fs::read_to_string(scene.path("r.toml")).unwrap();
    fs::write(scene.path("r.toml"), with.replace("watch = true", "watch = false")).unwrap();
    scene.reload().unwrap();
    assert!(scene.rests());
    fs::write(scene.path("zones/a.records"), text(2, 600)).unwrap();
    assert!(scene.rests(), "nobody watches");
    // A zone that could not be read yet is watched, too.
    let more = "[[zone]]\nname = \"c.test\"\nfile = \"zones/c.zone\"\n";
    fs::write(scene.path("r.toml"), format!("{with}{more}")).unwrap();
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    assert_eq!(on_cores(&scene.cores, "a.test"), Some(2));
    scene.wait("the missing file", |life, _| life.files_have_changed);
    assert!(scene.life.files_have_changed());
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    assert!(scene.rests());
    fs::write(scene.path("zones/c.zone"), text(7, 600)).unwrap();
    scene.follows("c.test", 7);
}

#[test]
fn a_primary_that_is_too_slow_is_cut_and_the_next_one_asked() {
    let (slow, other) = (Primary::start("a.test", &text(2, 600)), Primary::start("a.test", &text(1, 600)));
    slow.be(Mood::Slow);
    let mut scene = Scene::new(folder(), "");
    scene.life.pace = Pace { octets_min: 1_000, window: Duration::from_secs(2) };
    fs::write(scene.path("r.toml"), secondary(&[&slow, &other])).unwrap();
    scene.reload().unwrap();
    scene.serves("a.test", Some(1));
    let zone = scene.life.plane().store.zones().iter().find(|zone| zone.served().is_some()).unwrap();
    assert!(zone.troubles.is_empty());
    assert_eq!((scene.life.figures().transfers_failed, scene.life.figures().transfers_whole), (1, 1));
}

#[test]
fn a_configuration_is_read_and_a_zone_leaves_while_all_who_prepare_zones_are_held() {
    let configuration = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
    let folder = folder();
    fs::write(folder.path().join("a.zone"), text(1, 3600)).unwrap();
    let mut scene = Scene::new(folder, configuration);
    let (go_on, going_on) = std::sync::mpsc::channel::<()>();
    let going_on = Arc::new(Mutex::new(going_on));
    for _ in 0..WORKERS {
        let going_on = Arc::clone(&going_on);
        scene.life.workers.leave(move || drop(going_on.lock().map(|going_on| going_on.recv())));
    }
    fs::write(scene.path("r.toml"), "no configuration").unwrap();
    assert!(matches!(scene.reload(), Err(NotReloaded::Refused(_))));
    // Somebody reads the zone that leaves: whoever looks after all zones does not wait for that.
    let keeping = Arc::clone(scene.life.plane().store.zones()[0].keeping());
    let held = keeping.lock().unwrap();
    let gone = Gone { apex: "a.test".parse().unwrap(), is_member: true, keeping: Arc::clone(&keeping) };
    scene.life.gone(vec![gone]);
    drop(held);
    drop(go_on);
}

#[test]
fn what_has_changed_in_a_file_is_kept_once_the_cores_have_it_or_the_process_ends() {
    let folder = folder();
    let configuration = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\nallow_transfer = [\"127.0.0.1\"]\n";
    fs::write(folder.path().join("a.zone"), text(1, 3600)).unwrap();
    let mut scene = Scene::new(folder, configuration);
    let journal = scene.path("state/zones/a.test.changes");
    let octets = || fs::metadata(&journal).map_or(0, |metadata| metadata.len());
    fs::write(scene.path("a.zone"), text(2, 3600)).unwrap();
    scene.reload().unwrap();
    scene.wait("the first difference is on disk", |_, _| octets() > 0);
    let first = octets();
    // The cores hear nothing: there is no swap that would have it written.
    scene.cores.hears.store(false, Ordering::Relaxed);
    fs::write(scene.path("a.zone"), text(3, 3600)).unwrap();
    scene.life.workers = Workers::start(1, Arc::new(Fake::default())).unwrap();
    scene.reload().unwrap_err();
    scene.life.keepings().iter().for_each(Keeping::write_what_is_left);
    assert!(octets() > first, "the second one, too");
    let scene = scene.restart();
    let zone = scene.life.plane().store.zone(&"a.test".parse().unwrap()).unwrap();
    let since = |serial| zone.served().unwrap().journal().since(serial).map(<[_]>::len);
    assert_eq!((since(1), since(2)), (Some(2), Some(1)));
}

#[test]
fn what_led_to_a_file_is_not_taken_for_what_led_to_a_copy() {
    let primary = Primary::start("a.test", &text(5, 600));
    let mut scene = Scene::new(folder(), &secondary(&[&primary]));
    scene.serves("a.test", Some(5));
    // The zone is read from a file for a while, and goes another way there.
    let file = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\nallow_transfer = [\"127.0.0.1\"]\n";
    fs::write(scene.path("a.zone"), text(5, 600)).unwrap();
    fs::write(scene.path("r.toml"), file).unwrap();
    scene.reload().unwrap();
    fs::write(scene.path("a.zone"), text(6, 600) + "only-here A 192.0.2.9\n").unwrap();
    scene.reload().unwrap();
    scene.serves("a.test", Some(6));
    let scene = scene.restart();
    let journal = scene.life.plane().zones().next().unwrap().journal().clone();
    assert_eq!(journal.since(5).map(<[_]>::len), Some(1), "the file's own journal is kept");
    primary.be(Mood::Refusing);
    let mut scene = scene.restart_with(&secondary(&[&primary]));
    assert_eq!(scene.life.plane().zones().next().unwrap().image().serial(), 5);
    primary.be(Mood::Honest);
    primary.change(&text(6, 600));
    scene.notifier.notified("a.test".parse().unwrap(), Some(6), primary.address.ip());
    scene.serves("a.test", Some(6));
    let whole = super::primary::image("a.test", &text(6, 600));
    assert!(scene.life.plane().zones().next().unwrap().image().each_record().eq(whole.each_record()));
}

#[test]
fn a_member_keeps_its_catalog_over_a_restart_and_gives_way_to_a_route() {
    let catalog = |serial: u32, members: &str| {
        format!("$TTL 0\n@ SOA invalid. invalid. {serial} 3600 1 600 0\n@ NS invalid.\nversion TXT \"2\"\n{members}")
    };
    let (greedy, owner) =
        (Primary::start("c1.test", &catalog(1, "")), Primary::start("c2.test", &catalog(1, "m.zones PTR a.test.\n")));
    let member = Primary::start("a.test", &text(1, 600));
    let of = |name: &str, primary: &Primary| {
        let (at, members_at) = (primary.address, member.address);
        format!(
            "[[zone]]\nname = \"{name}\"\ncatalog = true\nprimaries = [\"{at}\"]\n[[template]]\ncatalog = \"{name}\"\n\
             primaries = [\"{members_at}\"]\n"
        )
    };
    let configuration = of("c1.test", &greedy) + &of("c2.test", &owner);
    let mut scene = Scene::new(folder(), &configuration);
    scene.serves("a.test", Some(1));
    greedy.change(&catalog(2, "x.zones PTR a.test.\n"));
    scene.notifier.notified("c1.test".parse().unwrap(), None, greedy.address.ip());
    scene.serves("c1.test", Some(2));
    let owner_of = |life: &Life| {
        let owned = life.plane().store.members().get(&"a.test".parse().unwrap());
        owned.map(|owned| (owned.catalog.to_string(), owned.label.clone()))
    };
    let expected = Some(("c2.test.".to_owned(), (*b"m").into()));
    assert_eq!(owner_of(&scene.life), expected);
    let mut scene = scene.restart();
    assert_eq!(owner_of(&scene.life), expected);
    assert_eq!(scene.life.plane().zones().filter(|zone| zone.name().to_string() == "a.test.").count(), 1);
    let route = "[[upstream]]\nname = \"up\"\nservers = [\"udp://192.0.2.1:53\"]\n[[route]]\nsuffix = \"a.test\"\nto = [\"up\"]\n";
    fs::write(scene.path("r.toml"), configuration + route).unwrap();
    scene.reload().unwrap();
    assert_eq!((owner_of(&scene.life), on_cores(&scene.cores, "a.test")), (None, None));
}

#[test]
fn one_zone_is_read_anew_and_the_others_are_left_alone() {
    let primary = Primary::start("a.test", &text(1, 600));
    let folder = folder();
    let file = |name: &str, serial| fs::write(folder.path().join(name), text(serial, 600)).unwrap();
    file("b.zone", 1);
    file("c.zone", 1);
    let of_file = |name: &str| format!("[[zone]]\nname = \"{name}.test\"\nfile = \"{name}.zone\"\n");
    let mut scene = Scene::new(folder, &(secondary(&[&primary]) + &of_file("b") + &of_file("c")));
    scene.serves("a.test", Some(1));
    let name = |text: &str| text.parse::<Name>().unwrap();
    let reload = |scene: &mut Scene, apex: &str| {
        let _guard = scene.runtime.enter();
        scene.life.reload_zone(&name(apex))
    };
    assert_eq!(reload(&mut scene, "d.test"), Err(NotBegun::Unknown));

    primary.change(&text(2, 600));
    assert_eq!(reload(&mut scene, "a.test"), Ok(Begun::Asking));
    scene.serves("a.test", Some(2));
    assert!(scene.reports.is_empty());

    for file in ["b.zone", "c.zone"] {
        fs::write(scene.path(file), text(5, 600)).unwrap();
    }
    assert_eq!(reload(&mut scene, "b.test"), Ok(Begun::Reading));
    scene.wait("a report", |_, cores| on_cores(cores, "b.test") == Some(5));
    scene.live(PATIENCE, |life, _| !life.swap.is_out);
    let report = scene.reports.pop().unwrap().unwrap();
    assert_eq!((report.read, report.faults.len()), (1, 0));
    assert_eq!(on_cores(&scene.cores, "c.test"), Some(1), "nobody asked for that one");

    fs::write(scene.path("b.zone"), "nonsense").unwrap();
    assert_eq!(reload(&mut scene, "b.test"), Ok(Begun::Reading));
    let before = scene.cores.swaps.lock().unwrap().len();
    scene.wait("another report", |life, cores| cores.swaps.lock().unwrap().len() > before && !life.swap.is_out);
    let report = scene.reports.pop().unwrap().unwrap();
    assert_eq!((report.faults.len(), on_cores(&scene.cores, "b.test")), (1, Some(5)));
}
