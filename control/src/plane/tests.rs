//! Reloads on cores that are none: what they are given is looked at, and asked through a shard.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringdns_shard::{Client, Outcome, Shard, Time, Transport};
use tempfile::TempDir;

use super::*;
use crate::cores::Cores;
use crate::cores::fake::Fake;

/// A configuration in a folder of its own, in force on two cores.
struct Scene {
    folder: TempDir,
    plane: Plane,
    cores: Fake,
}

const CONFIGURATION: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n[[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\n\
    [[upstream]]\nname = \"up\"\nservers = [\"udp://192.0.2.1:53\"]\n[[route]]\nsuffix = \".\"\nto = [\"up\"]\n";

fn zone(serial: u32) -> String {
    format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n")
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("r.toml", CONFIGURATION), ("a.zone", &zone(1)), ("b.zone", &zone(1))] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let source = Source::File(folder.path().join("r.toml"));
        let read = source.read().unwrap();
        let plane = Plane::open(source, read, &[0, 1]).unwrap();
        Scene { folder, plane, cores: Fake::default() }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Reloads, and puts what came of it in force as the server does.
    fn reload(&mut self) -> Result<Reloaded, NotReloaded> {
        let before = self.plane.print().expect("what was opened knows what it was read from");
        let read = self.plane.source().read_anew(&before).map_err(NotReloaded::Refused)?;
        let anew = self.plane.prepare(read).load();
        let reloaded = self.plane.take(anew);
        self.cores.swap(self.plane.images(), Duration::from_secs(1)).map_err(NotReloaded::Cores)?;
        Ok(reloaded)
    }

    fn serials(&self) -> Vec<u32> {
        self.plane.zones().map(|zone| zone.image().serial()).collect()
    }

    /// The rcode that core 1 gives for `name`, a label and `.test`; `None` when it asks an upstream.
    fn rcode(&self, name: &[u8]) -> Option<u8> {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.push(name.len() as u8);
        query.extend_from_slice(name);
        query.extend_from_slice(b"\x04test\x00\x00\x06\x00\x01");
        let client = Client {
            peer: "127.0.0.1:1000".parse().unwrap(),
            local: None,
            via: Transport::Udp,
            listener: 0,
            connection: 0,
        };
        let mut shard = Shard::new(Arc::clone(&self.plane.images()[1]), [1; 32]);
        let mut reply = [0; 2048];
        match shard.on_query(Time::ZERO, &client, &query, &mut reply) {
            Outcome::Reply(_) => Some(reply[3] & 15),
            Outcome::Pending => None,
            Outcome::Silence | Outcome::Transfer(_) => panic!("a good query is not ignored"),
        }
    }
}

/// The image of a zone, as a core has it.
fn image(images: &Images, zone: usize) -> &Arc<ringdns_shard::zone::Image> {
    images.zones[zone].image.as_ref().expect("the zone is loaded")
}

const NOERROR: Option<u8> = Some(0);
const REFUSED: Option<u8> = Some(5);
const SERVFAIL: Option<u8> = Some(2);

#[test]
fn each_core_gets_what_was_loaded() {
    let mut scene = Scene::new();
    assert_eq!((scene.rcode(b"a"), scene.rcode(b"c")), (NOERROR, None));
    scene.reload().unwrap();
    let swaps = scene.cores.swaps.lock().unwrap();
    let images = &swaps[0];
    assert_eq!((swaps.len(), images.len()), (1, 2));
    assert!(Arc::ptr_eq(image(&images[0], 0), image(&images[1], 0)), "what is small is shared");
    assert_eq!(images[0].cache.octets, (256 << 20) / 2);
    assert_eq!(images[0].bounds.udp_ports, 8);
}

#[test]
fn only_changed_zones_are_read() {
    let mut scene = Scene::new();
    scene.write("b.zone", &zone(2));
    let reloaded = scene.reload().unwrap();
    assert_eq!((reloaded.read, reloaded.unchanged), (1, 1));
    assert_eq!(scene.serials(), [1, 2]);
    scene.reload().unwrap();
    let swaps = scene.cores.swaps.lock().unwrap();
    assert!(Arc::ptr_eq(image(&swaps[0][1], 1), image(&swaps[1][1], 1)), "an unchanged image is handed on");
}

#[test]
fn what_waits_for_a_restart_is_named_by_each_reload() {
    let mut scene = Scene::new();
    scene.write("r.toml", &format!("[server]\ncores = 1\n{CONFIGURATION}"));
    for _ in 0..2 {
        assert_eq!(scene.reload().unwrap().waiting, ["`cores` in [server]"]);
    }
    scene.write("r.toml", CONFIGURATION);
    assert!(scene.reload().unwrap().waiting.is_empty());
}

#[test]
fn a_configuration_that_is_as_it_was_is_not_read_and_what_it_names_is() {
    let mut scene = Scene::new();
    let key = "[[key]]\nname = \"k.\"\nsecret_file = \"k\"\n";
    scene.write("k", "MTIzNDU2Nzg5MDEyMzQ1Ng==");
    scene.write("a.zone", &format!("{}$INCLUDE part\n", zone(1)));
    scene.write("part", "x A 192.0.2.1\n");
    scene.write("r.toml", &format!("{CONFIGURATION}{key}"));
    let is_same = |scene: &Scene| {
        let read = scene.plane.source().read_anew(&scene.plane.print().unwrap());
        read.unwrap().is_none()
    };
    assert!(!is_same(&scene));
    scene.reload().unwrap();
    assert!(is_same(&scene));
    let keys = |scene: &Scene| format!("{:p}", Arc::as_ptr(&scene.plane.images()[0].keys));
    let (before, records) = (keys(&scene), |scene: &Scene| scene.plane.zones().next().unwrap().image().records());
    // A file that a zone includes.
    scene.write("part", "x A 192.0.2.1\ny A 192.0.2.2\n");
    let reloaded = scene.reload().unwrap();
    assert_eq!((reloaded.read, reloaded.unchanged, records(&scene), keys(&scene)), (1, 1, 5, before.clone()));
    // A secret.
    scene.write("k", "MTIzNDU2Nzg5MDEyMzQ1Nw==");
    assert!(!is_same(&scene));
    scene.reload().unwrap();
    assert_ne!(keys(&scene), before);
    // A zone whose file was faulty is tried again.
    scene.write("b.zone", "@ A 192.0.2.1\n");
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    scene.write("b.zone", &zone(3));
    assert_eq!((scene.reload().unwrap().faults.len(), scene.serials()), (0, vec![1, 3]));
}

#[test]
fn a_configuration_with_mistakes_changes_nothing() {
    let mut scene = Scene::new();
    scene.write("a.zone", &zone(2));
    scene.write("r.toml", &format!("{CONFIGURATION}[cache]\nsize = 1\n"));
    let refused = scene.reload().unwrap_err().to_string();
    assert!(refused.contains("r.toml:14:8: `size` in [cache]"), "{refused}");
    fs::remove_file(scene.path("r.toml")).unwrap();
    let refused = scene.reload().unwrap_err().to_string();
    assert!(refused.contains("r.toml: cannot be read"), "{refused}");
    assert_eq!(scene.serials(), [1, 1]);
    assert!(scene.cores.swaps.lock().unwrap().is_empty());
}

#[test]
fn a_zone_with_mistakes_keeps_what_it_served_while_others_go_on() {
    let mut scene = Scene::new();
    scene.write("a.zone", "nonsense\n");
    scene.write("b.zone", &zone(2));
    let reloaded = scene.reload().unwrap();
    assert_eq!(reloaded.faults.len(), 1);
    assert!(reloaded.faults[0].lines[0].contains("a.zone:1:"), "{:?}", reloaded.faults);
    assert_eq!(scene.serials(), [1, 2]);
    assert_eq!(scene.rcode(b"a"), NOERROR);
    scene.write("a.zone", &zone(3));
    assert!(scene.reload().unwrap().faults.is_empty());
    assert_eq!(scene.serials(), [3, 2]);
}

#[test]
fn a_new_zone_with_mistakes_is_not_answered_and_not_asked_elsewhere() {
    let mut scene = Scene::new();
    assert_eq!(scene.rcode(b"c"), None);
    scene.write("r.toml", &format!("{CONFIGURATION}[[zone]]\nname = \"c.test\"\nfile = \"c.zone\"\n"));
    assert_eq!(scene.reload().unwrap().faults.len(), 1);
    assert_eq!(scene.rcode(b"c"), SERVFAIL);
    assert_eq!(scene.plane.missing().map(ToString::to_string).collect::<Vec<_>>(), ["c.test."]);
    scene.write("c.zone", &zone(1));
    scene.reload().unwrap();
    assert_eq!((scene.rcode(b"c"), scene.plane.missing().count()), (NOERROR, 0));
}

#[test]
fn a_zone_that_is_gone_from_the_configuration_is_gone() {
    let mut scene = Scene::new();
    scene.write("r.toml", "[[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\n");
    scene.reload().unwrap();
    assert_eq!((scene.rcode(b"a"), scene.rcode(b"b")), (REFUSED, NOERROR));
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let mut scene = Scene::new();
    let other = CONFIGURATION.replace("53\"]", "53\"]\nudp_ports = 9");
    scene.write(
        "r.toml",
        &format!(
            "{other}[server]\ncores = 1\nuser = \"nobody\"\nreplicas = \"node\"\nspin = \"50us\"\n[limits]\ntcp_clients = 5\ntcp_idle = \"1s\"\n\
             [control]\nlisten = \"\"\n[[listen]]\naddress = \"127.0.0.1:5399\"\nallow = [\"192.0.2.0/24\"]\n"
        ),
    );
    let reloaded = scene.reload().unwrap();
    assert_eq!(
        reloaded.waiting,
        [
            "`cores` in [server]",
            "`user` in [server]",
            "`replicas` in [server]",
            "`spin` in [server]",
            "`address` and `protocols` in [[listen]]",
            "`udp_ports` in [[upstream]]",
        ]
    );
    let images = scene.plane.images();
    assert_eq!((images.len(), images[0].listeners.len(), images[0].bounds.udp_ports), (2, 1, 8));
    let bounds = images[0].bounds;
    assert_eq!((bounds.tcp_idle, bounds.tcp_connections), (Duration::from_secs(1), 2), "these need none");
    assert_eq!(scene.rcode(b"a"), NOERROR, "a listener that is not in the file keeps its `allow`");
    assert_eq!(scene.reload().unwrap().waiting.len(), 6, "they wait still");
}

#[test]
fn who_may_ask_changes_with_a_reload() {
    let mut scene = Scene::new();
    scene.write("r.toml", &format!("{CONFIGURATION}[[listen]]\nallow = [\"192.0.2.0/24\"]\n"));
    assert!(scene.reload().unwrap().waiting.is_empty());
    assert_eq!(scene.rcode(b"a"), REFUSED);
}

#[test]
fn cores_that_do_not_answer_are_named() {
    let mut scene = Scene::new();
    scene.cores.hears.store(false, Ordering::Relaxed);
    let why = scene.reload().unwrap_err().to_string();
    assert!(why.contains("core 1"), "{why}");
}

#[test]
fn pools_are_tried_by_priority() {
    let text = "[[upstream]]\nname = \"late\"\nservers = [\"udp://192.0.2.1:53\"]\npriority = 9\n\
        [[upstream]]\nname = \"early\"\nservers = [\"udp://192.0.2.2:53\"]\npriority = 2\n\
        [[route]]\nsuffix = \"c.test\"\nto = [\"late\", \"early\"]\n";
    let mut scene = Scene::new();
    scene.write("r.toml", text);
    scene.reload().unwrap();
    let mut shard = Shard::new(Arc::clone(&scene.plane.images()[0]), [1; 32]);
    let client =
        Client { peer: "127.0.0.1:1".parse().unwrap(), local: None, via: Transport::Udp, listener: 0, connection: 0 };
    let query = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01c\x04test\x00\x00\x01\x00\x01";
    assert_eq!(shard.on_query(Time::ZERO, &client, query, &mut [0; 2048]), Outcome::Pending);
    let action = shard.poll_action(&mut vec![0; 65_535]);
    let Some(ringdns_shard::Action::AskUdp { server, .. }) = action else { panic!("{action:?}") };
    assert_eq!(server, "192.0.2.2:53".parse().unwrap());
}

#[test]
fn the_rate_of_responses_is_divided_over_the_cores() {
    let scene = Scene::new();
    for (rate, each) in [(1, 1), (5, 3), (200, 100)] {
        scene.write("r.toml", &format!("[limits]\nrrl = {{ rate = {rate} }}\n{CONFIGURATION}"));
        let settings = scene.plane.source().read().unwrap().settings;
        let plane = Plane::load(scene.plane.source().clone(), settings, &[0, 1]).unwrap();
        let rates: Vec<u32> = plane.images().iter().map(|images| images.rrl.as_ref().unwrap().rate).collect();
        assert_eq!(rates, [each, each]);
    }
}

#[test]
fn a_zone_with_a_wrong_digest_leaves_what_was_served() {
    let mut scene = Scene::new();
    let digest = "00".repeat(48);
    scene.write("a.zone", &format!("{}@ ZONEMD 2 1 1 {digest}\n", zone(2)));
    let reloaded = scene.reload().unwrap();
    assert_eq!((reloaded.faults.len(), scene.serials()), (1, vec![1, 1]));
    assert!(reloaded.faults[0].lines[0].contains("not what its digest says"), "{:?}", reloaded.faults);
}
