//! ACL and password files, each read once whatever the number of listeners that name it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use komar_acl::{Acl, AclFile, Options, ParseOptions, Substitution};
use komar_broker_core::ListenerFiles;
use komar_conf::{AclOptions, Security};
use komar_passwd::{PasswordFile, Warning};

use super::SetupError;

/// What was read so far; `None` for a file whose error is reported already.
#[derive(Default)]
pub(super) struct Files {
    acls: HashMap<(PathBuf, AclOptions), Option<Arc<Acl>>>,
    passwords: HashMap<PathBuf, Option<Arc<PasswordFile>>>,
}

impl Files {
    pub(super) fn of(
        &mut self,
        security: &Security,
        errors: &mut Vec<SetupError>,
        warnings: &mut Vec<String>,
    ) -> ListenerFiles {
        let acl = security.acl_file.as_ref().and_then(|path| {
            self.acls
                .entry((path.clone(), security.acl_options))
                .or_insert_with(|| note(acl(path, security.acl_options, warnings), errors))
                .clone()
        });
        let passwords = security.password_file.as_ref().and_then(|path| {
            self.passwords
                .entry(path.clone())
                .or_insert_with(|| note(passwords(path, warnings), errors))
                .clone()
        });
        ListenerFiles { acl, passwords }
    }
}

fn note<T>(result: Result<T, SetupError>, errors: &mut Vec<SetupError>) -> Option<Arc<T>> {
    result.map(Arc::new).map_err(|error| errors.push(error)).ok()
}

fn acl(path: &Path, given: AclOptions, warnings: &mut Vec<String>) -> Result<Acl, SetupError> {
    let text = read("acl_file", path)?;
    must_not_be_pem("acl_file", path, &text)?;
    let substitution = if given.substitute_anywhere {
        Substitution::Anywhere
    } else {
        Substitution::WholeLevel
    };
    let what = ParseOptions::default()
        .extensions(given.extensions)
        .substitution(substitution);
    let file = AclFile::parse_with(&text, &what).map_err(|errors| SetupError::Acl {
        path: path.to_owned(),
        errors,
    })?;
    warnings.extend(
        file.warnings()
            .iter()
            .map(|lint| format!("{}:{}: {}", path.display(), lint.line(), lint.kind())),
    );
    warnings.extend(more(path, file.warnings_omitted()));
    let options = Options::default()
        .substitution(substitution)
        .strict_subscribe(given.strict_subscribe);
    Ok(Acl::compile_owned(file, options))
}

fn passwords(path: &Path, warnings: &mut Vec<String>) -> Result<PasswordFile, SetupError> {
    let text = read("password_file", path)?;
    must_not_be_pem("password_file", path, &text)?;
    let (file, found, omitted) = match PasswordFile::parse(&text) {
        Ok(file) => {
            let (found, omitted) = (file.warnings().to_vec(), file.warnings_omitted());
            (Ok(file), found, omitted)
        }
        Err(errors) => {
            let (found, omitted) = (errors.warnings().to_vec(), errors.warnings_omitted());
            let path = path.to_owned();
            (Err(SetupError::Passwords { path, errors }), found, omitted)
        }
    };
    let place = |warning: &Warning| format!("{}:{}: {}", path.display(), warning.line, warning.cause);
    warnings.extend(found.iter().map(place));
    warnings.extend(more(path, omitted));
    file
}

fn more(path: &Path, omitted: usize) -> Option<String> {
    (omitted > 0).then(|| format!("{}: {omitted} more lines like these", path.display()))
}

/// Errors quote what they are about, and a key must not get into a log.
fn must_not_be_pem(option: &'static str, path: &Path, text: &[u8]) -> Result<(), SetupError> {
    if komar_conf::pem_line(text).is_some() {
        let path = path.to_owned();
        return Err(SetupError::Pem { option, path });
    }
    Ok(())
}

/// Reads a file that an option names.
pub(super) fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    read_regular(path).map_err(|error| SetupError::Unreadable {
        option,
        path: path.to_owned(),
        error,
    })
}

/// Reads a file of at most 256 MiB, but neither a pipe, which might never say anything, nor a device, which might never
/// end.
///
/// # Errors
///
/// Those of the system, and what else it is.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let too_large = || io::Error::other(format!("it has more than {MAXIMUM_SIZE} bytes"));
    if metadata.len() > MAXIMUM_SIZE {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile, and half of a list of rights is worse than none.
    let limit = MAXIMUM_SIZE.saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length < limit) {
        Ok(bytes)
    } else {
        Err(too_large())
    }
}

/// More than a million users with their hashes.
const MAXIMUM_SIZE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_some_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read("acl_file", &path).unwrap(), b"text");
        // Without a block on the disk.
        let large = File::options().write(true).open(&path).unwrap();
        large.set_len(MAXIMUM_SIZE + 1).unwrap();
        for (path, words) in [
            (path.as_path(), "it has more than 268435456 bytes"),
            (folder.path(), "is a directory"),
            (Path::new("/dev/zero"), "not a regular file"),
        ] {
            let error = read("acl_file", path).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_status(), 13);
        }
    }
}
