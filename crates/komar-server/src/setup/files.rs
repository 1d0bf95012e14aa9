//! ACL and password files, each read once whatever the number of listeners that name it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use komar_acl::{Acl, AclFile, Options};
use komar_broker_core::ListenerFiles;
use komar_conf::Security;
use komar_passwd::PasswordFile;

use super::SetupError;

/// What was read so far; `None` for a file whose error is reported already.
#[derive(Default)]
pub(super) struct Files {
    acls: HashMap<PathBuf, Option<Arc<Acl>>>,
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
                .entry(path.clone())
                .or_insert_with(|| note(acl(path, warnings), errors))
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

fn acl(path: &Path, warnings: &mut Vec<String>) -> Result<Acl, SetupError> {
    let text = read("acl_file", path)?;
    let file = AclFile::parse(&text).map_err(|errors| SetupError::Acl {
        path: path.to_owned(),
        errors,
    })?;
    warnings.extend(
        file.warnings()
            .iter()
            .map(|lint| format!("{}:{}: {lint}", path.display(), lint.line())),
    );
    Ok(Acl::compile_owned(file, Options::default()))
}

fn passwords(path: &Path, warnings: &mut Vec<String>) -> Result<PasswordFile, SetupError> {
    let text = read("password_file", path)?;
    let file = PasswordFile::parse(&text).map_err(|errors| SetupError::Passwords {
        path: path.to_owned(),
        errors,
    })?;
    warnings.extend(
        file.warnings()
            .iter()
            .map(|warning| format!("{}: {warning}", path.display())),
    );
    Ok(file)
}

/// Reads a file that an option names.
pub(super) fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|error| SetupError::Unreadable {
        option,
        path: path.to_owned(),
        error,
    })
}
