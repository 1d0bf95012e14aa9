//! Where files come from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads configuration files; [`Disk`] is the usual one, [`Memory`] serves tests.
pub trait FileSource {
    /// The whole content of a file.
    ///
    /// # Errors
    /// Whatever keeps it from being read; also when `path` is a folder.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths of the entries of a folder whose names end in `.conf`, in any order (`include_dir`).
    ///
    /// # Errors
    /// Whatever keeps the folder from being listed.
    fn list_conf(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The file system. Files above [`Disk::MAX_LENGTH`] are refused.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Disk;

/// Files in memory.
#[derive(Clone, Debug, Default)]
#[allow(clippy::exhaustive_structs)]
pub struct Memory {
    /// Content by path.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Disk {
    /// The longest configuration file, 16 MiB.
    pub const MAX_LENGTH: u64 = 16 << 20;
}

impl FileSource for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // One byte more than allowed tells a file that is too long from one that just fits.
        let limit = Disk::MAX_LENGTH.saturating_add(1);
        let length = File::open(path)?.take(limit).read_to_end(&mut content)?;
        if u64::try_from(length).is_ok_and(|length| length <= Disk::MAX_LENGTH) {
            Ok(content)
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 16 MiB"))
        }
    }

    fn list_conf(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            // `join` and not `entry.path()`: the path stays as the file spells it.
            let name = entry?.file_name();
            if name.as_encoded_bytes().ends_with(b".conf") {
                paths.push(directory.join(name));
            }
        }
        Ok(paths)
    }
}

impl Memory {
    /// Adds or replaces a file.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Memory {
        self.files.insert(path.into(), content.into());
        self
    }
}

impl FileSource for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list_conf(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.files.keys().any(|path| path.starts_with(directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &&PathBuf| {
            path.parent() == Some(directory) && path.as_os_str().as_encoded_bytes().ends_with(b".conf")
        };
        Ok(self.files.keys().filter(inside).cloned().collect())
    }
}
