//! What the broker does to its process: whom it runs as, in the background or not, and the file with its number.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    AccessFlags, Gid, Uid, User, access, daemon, getegid, geteuid, initgroups, setgid, setgroups, setuid,
};

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("the user '{0}' does not exist")]
    NoUser(String),
    #[error("cannot become the user '{user}': {error}")]
    Become { user: String, error: Errno },
    #[error("{name} is not a number: '{value}'")]
    NotNumber { name: &'static str, value: String },
    #[error("cannot go to the background: {0}")]
    Background(Errno),
    #[error("cannot write pid_file '{}': {error}", path.display())]
    PidFile { path: PathBuf, error: io::Error },
}

impl ProcessError {
    /// Mosquitto's exit status for it.
    pub(crate) fn exit_status(&self) -> i32 {
        match self {
            ProcessError::PidFile { .. } => 14,
            _ => 1,
        }
    }
}

/// Gives the rights of root up, if it has them, for those of `user` or of the numbers in `PUID` and `PGID`. Called
/// while there is one thread, and before any file is opened. Returns what an operator should know.
///
/// # Errors
///
/// The user does not exist, or the system refuses. The process is then to end: it has more rights than it should.
pub(crate) fn drop_privileges(user: &str) -> Result<Option<String>, ProcessError> {
    let confined = std::env::var_os("SNAP_NAME").is_some_and(|name| name == "mosquitto");
    if !geteuid().is_root() || confined {
        return Ok(None);
    }
    let (uid, gid) = (number_from("PUID", 10)?, number_from("PGID", 10)?);
    if uid.is_some() || gid.is_some() {
        become_ids(uid, gid)?;
    } else if user != "root" {
        become_user(user)?;
    }
    let remark = if geteuid().is_root() {
        Some("the broker runs as root; name another 'user'")
    } else if getegid().as_raw() == 0 {
        Some("the broker runs with the rights of the group root; set PGID")
    } else {
        None
    };
    Ok(remark.map(str::to_owned))
}

fn become_user(name: &str) -> Result<(), ProcessError> {
    let failed = |error| ProcessError::Become {
        user: name.to_owned(),
        error,
    };
    let found = User::from_name(name).map_err(failed)?;
    let account = match found {
        Some(account) => account,
        // Only the name that nobody has chosen may be missing.
        None if name == DEFAULT_USER => User::from_name(FALLBACK_USER)
            .map_err(failed)?
            .ok_or_else(|| ProcessError::NoUser(name.to_owned()))?,
        None => return Err(ProcessError::NoUser(name.to_owned())),
    };
    let account_name =
        CString::new(account.name.as_str()).map_err(|_| ProcessError::NoUser(name.to_owned()))?;
    // In this order: without root's rights the groups could not be changed any more.
    initgroups(&account_name, account.gid).map_err(failed)?;
    setgid(account.gid).map_err(failed)?;
    setuid(account.uid).map_err(failed)
}

fn become_ids(uid: Option<u32>, gid: Option<u32>) -> Result<(), ProcessError> {
    let failed = |error| ProcessError::Become {
        user: format!("PUID={uid:?} PGID={gid:?}"),
        error,
    };
    // Those of root stay for nobody, whatever the group is.
    let groups: Vec<Gid> = gid.into_iter().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(failed)?;
    if let Some(gid) = gid {
        setgid(Gid::from_raw(gid)).map_err(failed)?;
    }
    if let Some(uid) = uid {
        setuid(Uid::from_raw(uid)).map_err(failed)?;
    }
    Ok(())
}

/// Sets the mask of new files' rights from `UMASK_SET`, an octal number.
pub(crate) fn set_umask() -> Result<(), ProcessError> {
    if let Some(mask) = number_from("UMASK_SET", 8)? {
        umask(Mode::from_bits_truncate(mask));
    }
    Ok(())
}

/// Goes on in the background, away from the terminal. The working directory stays, for names of files in the
/// configuration. Called while there is one thread.
pub(crate) fn go_to_background() -> Result<(), ProcessError> {
    daemon(true, false).map_err(ProcessError::Background)
}

/// Whether [`PidFile::write`] could write it; nothing is changed.
pub(crate) fn check_pid_file(path: &Path) -> Result<(), ProcessError> {
    let may = match path.metadata() {
        Ok(file) if file.is_dir() => Err(Errno::EISDIR),
        Ok(_) => access(path, AccessFlags::W_OK),
        // It would be made there.
        Err(_) => access(folder_of(path), AccessFlags::W_OK | AccessFlags::X_OK),
    };
    may.map_err(|error| ProcessError::PidFile {
        path: path.to_owned(),
        error: error.into(),
    })
}

/// Why a file could not be made at this path.
pub(crate) fn folder_problem(path: &Path) -> Option<String> {
    let folder = folder_of(path);
    let error = access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!("the folder {}: {}", folder.display(), error.desc()))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file that holds the number of this process. Dropping it removes the file, unless it holds another's by then.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the number in decimal, without a line end.
    pub(crate) fn write(path: &Path) -> Result<PidFile, ProcessError> {
        let written = fs::File::create(path).and_then(|mut file| write!(file, "{}", std::process::id()));
        match written {
            Ok(()) => Ok(PidFile(path.to_owned())),
            Err(error) => Err(ProcessError::PidFile {
                path: path.to_owned(),
                error,
            }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        remove_pid_file(&self.0);
    }
}

/// Takes the file away unless it has become another process's.
pub(crate) fn remove_pid_file(path: &Path) {
    let number = std::process::id().to_string();
    if fs::read_to_string(path).is_ok_and(|text| text.trim_end() != number) {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("cannot remove pid_file '{}': {error}", path.display());
    }
}

fn number_from(name: &'static str, radix: u32) -> Result<Option<u32>, ProcessError> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .and_then(|value| u32::from_str_radix(value, radix).ok());
    number.map(Some).ok_or_else(|| ProcessError::NotNumber {
        name,
        value: value.to_string_lossy().into_owned(),
    })
}

const DEFAULT_USER: &str = "mosquitto";
const FALLBACK_USER: &str = "nobody";
