//! The forms of files and folders.

use std::path::{Path, PathBuf};

use super::form::{Form, quoted};
use super::schema::{Found, Reader};

/// A folder.
pub(super) struct FolderForm;

impl Form for FolderForm {
    type Value = PathBuf;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<PathBuf> {
        match found.get_ref().as_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Some(reader.folder().join(text)),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        "the path of a folder".to_owned()
    }

    fn write(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

/// The file of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZoneFile {
    /// None is named.
    Absent,
    /// The demonstration zone that is built into the program.
    Demonstration,
    /// This file.
    Path(PathBuf),
}

/// The word that stands for [`ZoneFile::Demonstration`].
const DEMONSTRATION: &str = "builtin:demonstration";

/// The form of [`ZoneFile`].
pub(super) struct FileForm;

impl Form for FileForm {
    type Value = ZoneFile;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<ZoneFile> {
        match found.get_ref().as_str() {
            Some("") => Some(ZoneFile::Absent),
            Some(DEMONSTRATION) => Some(ZoneFile::Demonstration),
            Some(text) if !text.contains('\0') => Some(ZoneFile::Path(reader.folder().join(Path::new(text)))),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("the path of a file, {} for the demonstration zone, or \"\" for none", quoted(DEMONSTRATION))
    }

    fn write(&self, value: &ZoneFile) -> String {
        match value {
            ZoneFile::Absent => quoted(""),
            ZoneFile::Demonstration => quoted(DEMONSTRATION),
            ZoneFile::Path(path) => quoted(&path.to_string_lossy()),
        }
    }
}
