//! A certificate and its key on the disk: both or neither.

use std::io::{self, Write as _};
use std::path::Path;

use super::Request;
use crate::output::Output;

/// Writes certificate and key, or neither. Two of these at once with `--force` for one pair, or one that is killed between
/// its two renames, can leave a certificate and a key of different pairs, which the broker tells when it starts.
pub(super) fn write(
    request: &Request,
    name: &str,
    (certificate, key): &(String, String),
    output: &mut Output,
) -> Result<i32, String> {
    let certificate_file = request.target(name, "crt")?;
    let key_file = request.target(name, "key")?;
    for file in [&certificate_file, &key_file] {
        if request.is_of_the_authority(file) {
            return Err(format!(
                "{} belongs to the authority that is to sign; choose another name with --out or --dir",
                file.display()
            ));
        }
    }
    let files = [(&key_file, key, 0o600), (&certificate_file, certificate, 0o644)];
    if let Some((file, ..)) = files
        .iter()
        .find(|(file, ..)| file.symlink_metadata().is_ok() && !request.force)
    {
        return Err(exists(file));
    }
    let [key, certificate] = files.map(|(file, text, mode)| prepare(file, text, mode));
    let (key, certificate) = (key?, certificate?);
    let old_key = Kept::of(&key_file)?;
    put(request, key, &key_file)?;
    if let Err(error) = put(request, certificate, &certificate_file) {
        // A key without its certificate is of no use, and the old one may be in use.
        old_key.restore(&key_file)?;
        return Err(error);
    }
    output.line(certificate_file.display());
    output.line(key_file.display());
    Ok(0)
}

fn put(request: &Request, temporary: tempfile::NamedTempFile, file: &Path) -> Result<(), String> {
    let result = if request.force {
        temporary.persist(file)
    } else {
        temporary.persist_noclobber(file)
    };
    result.map(drop).map_err(|error| match error.error.kind() {
        // It has come meanwhile.
        io::ErrorKind::AlreadyExists => exists(file),
        _ => unwritable(file, &error.error),
    })
}

fn exists(file: &Path) -> String {
    format!("{} exists; --force replaces it", file.display())
}

/// A second name of a file that is about to be replaced, in a folder of its own, until this is dropped.
struct Kept(Option<tempfile::TempDir>);

impl Kept {
    fn of(file: &Path) -> Result<Kept, String> {
        if file.symlink_metadata().is_err() {
            return Ok(Kept(None));
        }
        let kept = tempfile::Builder::new()
            .prefix(".komar-cert")
            .tempdir_in(folder_of(file))
            .and_then(|folder| {
                let name = folder.path().join(KEPT);
                // Where files have one name only, a copy, which has the same mode.
                std::fs::hard_link(file, &name)
                    .or_else(|_| std::fs::copy(file, &name).map(drop))
                    .map(|()| folder)
            });
        kept.map(|folder| Kept(Some(folder)))
            .map_err(|error| unwritable(file, &error))
    }

    /// Undoes the replacement; a file that was not there goes.
    fn restore(self, file: &Path) -> Result<(), String> {
        let Some(folder) = self.0 else {
            return std::fs::remove_file(file).map_err(|error| unwritable(file, &error));
        };
        std::fs::rename(folder.path().join(KEPT), file).map_err(|error| {
            let kept = folder.keep().join(KEPT);
            format!(
                "cannot put {} back: {error}; it is {} now",
                file.display(),
                kept.display()
            )
        })
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A temporary file beside its target, whole and on the disk.
fn prepare(target: &Path, text: &str, mode: u32) -> Result<tempfile::NamedTempFile, String> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let written = builder
        .prefix(".komar-cert")
        .tempfile_in(folder_of(target))
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        });
    written.map_err(|error| unwritable(target, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// The file in a [`Kept`]'s folder.
const KEPT: &str = "old";
