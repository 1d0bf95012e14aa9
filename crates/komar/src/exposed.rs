//! Files that somebody else on this machine may change, and secrets that he may read.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::iter;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use komar_conf::Config;
use nix::unistd::{User, getegid, geteuid, getgroups};

/// Says of each what would end that. Called with the rights that the broker runs with.
pub(crate) fn problems(config_file: Option<&Path>, config: &Config) -> Vec<String> {
    let mut files: Vec<(Option<&Path>, u32)> = vec![(config_file, WRITE)];
    for security in iter::once(&config.security).chain(config.listeners.iter().map(|one| &one.security)) {
        files.push((security.acl_file.as_deref(), WRITE));
        files.push((security.password_file.as_deref(), WRITE | READ));
    }
    for tls in config.listeners.iter().filter_map(|one| one.tls.as_ref()) {
        files.push((Some(&tls.keyfile), WRITE | READ));
        let trusted = [&tls.cafile, &tls.capath, &tls.crlfile];
        files.extend(trusted.map(|path: &Option<PathBuf>| (path.as_deref(), WRITE)));
    }
    // One file may be several of these.
    let mut rights: BTreeMap<&Path, u32> = BTreeMap::new();
    for (path, others) in files {
        if let Some(path) = path {
            *rights.entry(path).or_default() |= others;
        }
    }
    let found = rights.into_iter().filter_map(|(path, others)| {
        let found = fs::metadata(path).ok()?;
        let given = found.mode() & others;
        let may = match (given & WRITE != 0, given & READ != 0) {
            (true, _) => "change",
            (false, true) => "read",
            (false, false) => return None,
        };
        let advice = if others & READ == 0 {
            "chmod o-w".to_owned()
        } else if is_read_by_us(&found) {
            "chmod o-rw".to_owned()
        } else {
            format!("chown it to {}, as whom it was read, and chmod 0600", user())
        };
        let path = path.display();
        Some(format!(
            "every user of this machine may {may} '{path}'; {advice} would end that"
        ))
    });
    found.collect()
}

/// Whether this process may read a file also without the rights that everybody has.
fn is_read_by_us(file: &Metadata) -> bool {
    let is_owner = geteuid().as_raw() == file.uid();
    let is_in_group = || {
        let others = getgroups().unwrap_or_default();
        iter::once(getegid())
            .chain(others)
            .any(|group| group.as_raw() == file.gid())
    };
    geteuid().is_root() || lets_read(file.mode(), is_owner, is_in_group())
}

/// The owner has the owner's rights, also where the group has more.
fn lets_read(mode: u32, is_owner: bool, is_in_group: bool) -> bool {
    match (is_owner, is_in_group) {
        (true, _) => mode & OWNER_READ != 0,
        (false, true) => mode & GROUP_READ != 0,
        (false, false) => false,
    }
}

fn user() -> String {
    let name = User::from_uid(geteuid()).ok().flatten();
    name.map_or_else(|| geteuid().to_string(), |found| found.name)
}

/// Rights of others, of the owner and of the group.
const READ: u32 = 0o004;
const WRITE: u32 = 0o002;
const OWNER_READ: u32 = 0o400;
const GROUP_READ: u32 = 0o040;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_without_the_rights_of_others() {
        for (mode, is_owner, is_in_group, expected) in [
            (0o644, true, false, true),
            (0o644, false, true, true),
            (0o644, false, false, false),
            (0o604, false, true, false),
            (0o044, true, true, false),
        ] {
            assert_eq!(lets_read(mode, is_owner, is_in_group), expected, "{mode:o}");
        }
    }
}
