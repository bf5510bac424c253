//! What settings were read from, so that a reload can tell whether reading it again would give the same.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::confined::unreadable;

/// A digest of a configuration file, and of every file that it has had read.
#[derive(Debug, Default)]
pub(crate) struct Print {
    state: RandomState,
    text: u64,
    files: Vec<Noted>,
}

/// A file that was read, beside the configuration file.
#[derive(Debug)]
struct Noted {
    path: PathBuf,
    octets_max: u64,
    text: u64,
}

impl Print {
    /// Of a configuration file with `text`, which has had nothing read yet.
    pub(super) fn new(text: &str) -> Print {
        let state = RandomState::new();
        Print { text: state.hash_one(text), files: Vec::new(), state }
    }

    /// The whole of a small regular file that the configuration names.
    pub(super) fn read(&mut self, path: PathBuf, octets_max: u64) -> io::Result<String> {
        let text = small_file(&path, octets_max)?;
        self.files.push(Noted { path, octets_max, text: self.state.hash_one(&*text) });
        Ok(text)
    }

    /// Whether the configuration file's text is still this one, and whether the files that it has had read are as they
    /// were.
    pub(super) fn is_still(&self, text: &str) -> bool {
        let is_still = |noted: &Noted| {
            let text = small_file(&noted.path, noted.octets_max);
            text.is_ok_and(|text| self.state.hash_one(&*text) == noted.text)
        };
        self.state.hash_one(text) == self.text && self.files.iter().all(is_still)
    }
}

/// The whole of a small regular file.
pub(super) fn small_file(path: &Path, octets_max: u64) -> io::Result<String> {
    // Asked before the file is opened: opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(octets_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > octets_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {octets_max} octets")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_is_still_true_as_long_as_no_file_says_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one").unwrap();
        let mut print = Print::new("text");
        assert_eq!(print.read(path.clone(), 10).unwrap(), "one");
        assert!(print.is_still("text") && !print.is_still("texts"));
        fs::write(&path, "two").unwrap();
        assert!(!print.is_still("text"));
        fs::write(&path, "one").unwrap();
        assert!(print.is_still("text"), "what is in it counts, not when it was written");
        fs::write(&path, "one".repeat(4)).unwrap();
        assert!(!print.is_still("text"), "it cannot be read any more");
        fs::remove_file(&path).unwrap();
        assert!(!print.is_still("text"));
    }
}
