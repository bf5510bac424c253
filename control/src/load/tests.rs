//! Zones from files in folders of their own.

use super::*;
use crate::config::Replicas;

const HEAD: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn job(apex: Name, file: ZoneFile, include: &[PathBuf], kept: Option<Arc<Served>>) -> Job {
    let source = Source::File { file, include: include.to_vec() };
    let wanted = Wanted {
        apex: apex.clone(),
        source,
        notify: Vec::new(),
        allow_transfer: Vec::new(),
        is_catalog: false,
        listed_in: None,
        member: None,
    };
    let keeping = Arc::new(Mutex::new(Keeping::in_memory(&wanted)));
    Job { wanted: Arc::new(wanted), kept, keeping }
}

fn all(jobs: &[Job], cores: usize) -> Vec<Result<Arc<Served>, ZoneFaults>> {
    let layout = Layout::new(&(0..cores).collect::<Vec<_>>(), Replicas::Core);
    let manner = Manner { key: HashKey::from_seed([7; 16]), layout: &layout, in_background: false, listing: None };
    let served = |(job, loaded): (&Job, Result<Loaded, ZoneFaults>)| match loaded? {
        Loaded::Unchanged => Ok(Arc::clone(job.kept.as_ref().unwrap())),
        Loaded::Fresh(served, _) => Ok(served),
        Loaded::Absent => panic!("a master file is there or is not"),
    };
    jobs.iter().zip(zones(jobs, manner)).map(served).collect()
}

fn load(file: &Path, cores: usize, kept: Option<&Arc<Served>>) -> Result<Arc<Served>, ZoneFaults> {
    let file = ZoneFile::Path(file.to_owned());
    all(&[job(name("a.test"), file, &[], kept.cloned())], cores).remove(0)
}

/// Writes `files` into a folder and loads the first; what came of it, with the folder's name left out.
fn loaded(files: &[(&str, &str)]) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let result = load(&folder.path().join(files[0].0), 1, None);
    let shorten = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    result.map(|served| served.image().records()).map_err(|faults| shorten(faults.to_string()))
}

#[test]
fn a_zone_file_is_loaded() {
    assert_eq!(loaded(&[("a.zone", HEAD)]), Ok(3));
}

#[test]
fn the_demonstration_zone_fits_any_apex() {
    for apex in ["example.test", "a.b.c"] {
        let result = all(&[job(name(apex), ZoneFile::Demonstration, &[], None)], 1).remove(0);
        assert!(result.is_ok_and(|served| served.image().records() > 10));
    }
}

#[test]
fn mistakes_are_named_with_file_line_and_column() {
    let faults = loaded(&[("a.zone", &format!("{HEAD}www A 192.0.2.300\n"))]).unwrap_err();
    assert!(faults.starts_with("the zone a.test. is not loaded:\na.zone:5:7: "), "{faults}");
    let faults = loaded(&[("a.zone", "@ 60 A 192.0.2.1\n")]).unwrap_err();
    assert!(faults.contains("SOA"), "{faults}");
    let faults = loaded(&[("a.zone", &format!("{HEAD}www.b.test. A 192.0.2.3\n"))]).unwrap_err();
    assert!(faults.contains("\na.zone:5:"), "{faults}");
}

#[test]
fn included_files_are_read_from_the_folder_of_the_zone_or_below() {
    let zone = format!("{HEAD}$INCLUDE more/b.zone\n");
    assert_eq!(
        loaded(&[
            ("a.zone", &zone),
            ("more/b.zone", "$INCLUDE c.zone\nx A 192.0.2.1\n"),
            ("more/c.zone", "y A 192.0.2.2\n")
        ]),
        Ok(5)
    );
    let faults = loaded(&[("a.zone", &zone), ("more/b.zone", "x A 192.0.2.1\ny B 1\n")]).unwrap_err();
    assert!(faults.contains("\nmore/b.zone:2:"), "{faults}");
    let faults = loaded(&[("zones/a.zone", &format!("{HEAD}$INCLUDE ../secret\n")), ("secret", "x A 192.0.2.1\n")]);
    let faults = faults.unwrap_err();
    assert!(faults.contains("zones/a.zone:5:") && faults.contains("secret is outside"), "{faults}");
    let faults = loaded(&[("a.zone", &format!("{HEAD}$INCLUDE /etc/passwd\n"))]).unwrap_err();
    assert!(faults.contains("a.zone:5:") && faults.contains("/etc/passwd is outside"), "{faults}");
    let faults = loaded(&[("a.zone", &format!("{HEAD}$INCLUDE none.zone\n"))]).unwrap_err();
    assert!(faults.contains("a.zone:5:") && faults.contains("cannot be read"), "{faults}");
}

#[test]
fn a_link_does_not_lead_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones");
    fs::create_dir(&zones).unwrap();
    fs::write(folder.path().join("secret"), "x A 192.0.2.1\n").unwrap();
    std::os::unix::fs::symlink("../secret", zones.join("link")).unwrap();
    fs::write(zones.join("a.zone"), format!("{HEAD}$INCLUDE link\n")).unwrap();
    let faults = load(&zones.join("a.zone"), 1, None).unwrap_err().to_string();
    assert!(faults.contains("is outside"), "{faults}");
}

#[test]
fn what_is_no_file_is_refused() {
    for path in ["/dev/null", "/", "/nonexistent"] {
        let faults = load(Path::new(path), 1, None).unwrap_err().to_string();
        assert!(faults.contains(&format!("\n{path}: cannot be read: ")), "{faults}");
    }
}

#[test]
fn a_zone_is_read_again_only_when_a_file_of_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (zone, part) = (folder.path().join("a.zone"), folder.path().join("part"));
    fs::write(&zone, format!("{HEAD}$INCLUDE part\n")).unwrap();
    fs::write(&part, "x A 192.0.2.1\n").unwrap();
    let first = load(&zone, 2, None).unwrap();
    assert_eq!(first.copies().len(), 1, "the cores of a node share what is small");
    assert!(Arc::ptr_eq(&first, &load(&zone, 2, Some(&first)).unwrap()));
    fs::write(&part, "x A 192.0.2.1\ny A 192.0.2.2\n").unwrap();
    let second = load(&zone, 2, Some(&first)).unwrap();
    assert_eq!((first.image().records(), second.image().records()), (4, 5));
}

#[test]
fn only_so_many_faults_are_shown() {
    let lines = (0..FAULTS_SHOWN_MAX + 3).map(|line| line.to_string()).collect();
    let text = ZoneFaults { zone: "a.test.".to_owned(), lines }.to_string();
    assert_eq!(text.lines().count(), FAULTS_SHOWN_MAX + 2);
    assert!(text.ends_with("\nand 3 more"), "{text}");
}

#[test]
fn many_zones_come_back_in_order() {
    let names: Vec<Name> = (0..50).map(|number| name(&format!("z{number}.test"))).collect();
    let jobs: Vec<Job> = names.iter().map(|name| job(name.clone(), ZoneFile::Demonstration, &[], None)).collect();
    let loaded: Vec<Name> = all(&jobs, 1).into_iter().map(|result| result.unwrap().name().clone()).collect();
    assert_eq!(loaded, names);
}

#[test]
fn other_folders_are_read_from_where_the_configuration_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let (zones, shared) = (folder.path().join("zones"), folder.path().join("shared"));
    fs::create_dir(&zones).unwrap();
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("part"), "x A 192.0.2.1\n").unwrap();
    fs::write(zones.join("a.zone"), format!("{HEAD}$INCLUDE ../shared/part\n")).unwrap();
    let file = ZoneFile::Path(zones.join("a.zone"));
    let with = |include: &[PathBuf]| all(&[job(name("a.test"), file.clone(), include, None)], 1).remove(0);
    assert!(with(&[]).unwrap_err().to_string().contains("`include`"));
    assert!(with(&[folder.path().join("none")]).is_err());
    assert_eq!(with(&[shared]).unwrap().image().records(), 4);
}

#[test]
fn a_change_is_a_difference_where_the_serial_moves_forward_and_a_break_where_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.zone");
    let write = |serial: u32, more: &str| {
        fs::write(&file, format!("{}{more}", HEAD.replace(" 1 60", &format!(" {serial} 60")))).unwrap();
    };
    let next = |kept: &Arc<Served>| load(&file, 1, Some(kept)).unwrap();
    let since = |served: &Served, serial| served.journal().since(serial).map(<[_]>::len);
    write(1, "");
    let first = load(&file, 1, None).unwrap();
    write(2, "x A 192.0.2.1\n");
    let second = next(&first);
    write(3, "");
    let third = next(&second);
    assert_eq!((since(&third, 1), since(&third, 2)), (Some(2), Some(1)));
    // The same records in other words are the same zone.
    write(3, "; nothing\n");
    let same = next(&third);
    assert!(Arc::ptr_eq(&same.copies()[0], &third.copies()[0]) && !Arc::ptr_eq(&same, &third));
    assert!(Arc::ptr_eq(&same, &next(&same)));
    write(3, "y A 192.0.2.1\n");
    let stuck = next(&same);
    assert_eq!((stuck.image().records(), since(&stuck, 1), since(&stuck, 2)), (4, None, None));
}

#[test]
fn a_zone_that_is_not_what_its_digest_says_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.zone");
    let load = |zonemd: &str, kept: Option<&Arc<Served>>| {
        // The zone of RFC 8976 appendix A.1.
        let records = "@ 86400 SOA ns1 admin 2018031900 1800 900 604800 86400\n@ 86400 NS ns1\n@ 86400 NS ns2\n\
                       ns1 3600 A 203.0.113.63\nns2 3600 AAAA 2001:db8::63\n";
        fs::write(&file, format!("{records}@ 86400 ZONEMD 2018031900 {zonemd}\n")).unwrap();
        all(&[job(name("example"), ZoneFile::Path(file.clone()), &[], kept.cloned())], 1).remove(0)
    };
    let good = "1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c";
    let served = load(good, None).unwrap();
    for kept in [None, Some(&served)] {
        let faults = load(&good.replace("c680", "c681"), kept).unwrap_err().to_string();
        assert!(faults.contains("a.zone: the zone is not what its digest says: the SHA-384 digest"), "{faults}");
    }
    let unsupported = load(&good.replace("1 1 ", "1 240 "), None);
    assert!(unsupported.is_ok(), "nobody can verify it: {unsupported:?}");
}
