//! Replacing a file on disk: locked, whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::edit::Editor;

/// How [`update`] and [`rewrite`] treat the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateOptions {
    /// What to do about a file that is not there. Default: [`Create::Never`].
    pub create: Create,
    /// Mode of a file that is made, less the umask. Default: `0o600`. Of no effect where files have no mode.
    pub mode: u32,
    /// How long to wait for another editor of the same file. Default: 30 seconds.
    pub lock_timeout: Duration,
}

/// Whether [`update`] makes the file; a file is there or not, so that there is no fourth case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The file must exist.
    Never,
    /// The file is made if it is not there.
    IfMissing,
    /// The file must not exist; it is made.
    New,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            create: Create::Never,
            mode: 0o600,
            lock_timeout: Duration::from_secs(30),
        }
    }
}

impl UpdateOptions {
    /// The default, with this rule for a file that is not there.
    #[must_use]
    pub fn create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// The default, with this mode for a file that is made.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// Why a file was not updated. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError<E> {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file exists and [`Create::New`] was asked for.
    #[error("{} exists already; leave out the option that creates it, to change it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A folder, device or pipe.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// A file above 256 MiB, as the broker would refuse it too.
    #[error("{} is larger than {} MiB", path.display(), MAXIMUM_SIZE >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another editor held the lock all the time.
    #[error("{} is being changed by another program; try again when it is done", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The new file could not be given to the old one's owner; the broker might not be able to read it.
    #[error("cannot keep the owner of {}: {source}; run this as its owner or as root", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The new file could not be given the old one's access list; others might be able to read it, or the broker not.
    #[error("cannot keep the access list of {}: {source}; see getfacl, and setfacl -b, which removes it", path.display())]
    AccessList {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SELinux does not let the new file have the old one's label; the broker might not be let read it.
    #[error("cannot keep the SELinux label of {}: {source}; see ls -Z and restorecon", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller's edit failed.
    #[error(transparent)]
    Edit(E),
}

/// Lets `edit` change a password file, and puts the result in its place in one step.
///
/// The whole is done under a lock that other callers wait for, so that no change is lost. The new text is written to a
/// temporary file in the same folder, made durable and renamed over the old one; mode, owner, POSIX access list and SELinux
/// label stay. A symbolic link is followed, and the file it points to replaced. Nothing is written if the text did not change.
///
/// A program that is killed before it renames leaves the temporary file, `.komar-` and six characters, readable by those
/// who may read the file, and perhaps with all of its hashes; nobody removes it.
///
/// # Errors
/// [`UpdateError`]; the file is as it was then.
pub fn update<R, E>(
    path: &Path,
    options: &UpdateOptions,
    edit: impl FnOnce(&mut Editor) -> Result<R, E>,
) -> Result<R, UpdateError<E>> {
    rewrite(path, options, |before| {
        let mut editor = Editor::new(before.unwrap_or_default());
        let result = edit(&mut editor)?;
        Ok((editor.text(), result))
    })
}

/// As [`update`], for a file of any kind: `edit` is given what is in it, or `None` if there is no file, and gives what
/// is to be in it, with a result for the caller.
///
/// The lock is on the empty file `.NAME.lock` beside the file, which is removed afterwards. The kernel lets go of the lock
/// of a program that dies. The lock file that such a program leaves behind keeps nobody out: everybody who may enter the
/// folder may open it, whoever made it. So may somebody lock it who cannot change the file, and keep others waiting
/// until they give up ([`UpdateError::Locked`]); a folder that only those may enter who change the file, or read it,
/// prevents that.
///
/// # Errors
/// [`UpdateError`]; the file is as it was then.
pub fn rewrite<R, E>(
    path: &Path,
    options: &UpdateOptions,
    edit: impl FnOnce(Option<&[u8]>) -> Result<(Zeroizing<Vec<u8>>, R), E>,
) -> Result<R, UpdateError<E>> {
    let target = target_of(path)?;
    // Held to the end: dropping it lets the next editor in.
    let _lock = platform::Lock::take(&target, options.lock_timeout)?;
    let existing = read(&target, options.create)?;
    let before = existing.as_ref().map(|existing| existing.text.as_slice());
    let (after, result) = edit(before).map_err(UpdateError::Edit)?;
    if before != Some(&after) {
        let like = existing.as_ref().map(|existing| &existing.metadata);
        replace(&target, &after, like, options)?;
    }
    Ok(result)
}

struct Existing {
    text: Zeroizing<Vec<u8>>,
    metadata: fs::Metadata,
}

/// Follows symbolic links; a path whose last part does not exist is its own target.
fn target_of<E>(path: &Path) -> Result<PathBuf, UpdateError<E>> {
    match fs::canonicalize(path) {
        Ok(target) => Ok(target),
        // A link that points nowhere is refused: renaming over it would replace the link.
        Err(source) if source.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            let name = path
                .file_name()
                .ok_or_else(|| UpdateError::NotAFile { path: path.into() })?;
            let folder = fs::canonicalize(folder_of(path)).map_err(failed("open", folder_of(path)))?;
            Ok(folder.join(name))
        }
        Err(source) => Err(UpdateError::Io {
            action: "open",
            path: path.into(),
            source,
        }),
    }
}

fn read<E>(target: &Path, create: Create) -> Result<Option<Existing>, UpdateError<E>> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = match fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == io::ErrorKind::NotFound && create != Create::Never => {
            return Ok(None);
        }
        Err(source) => {
            return Err(UpdateError::Io {
                action: "open",
                path: target.into(),
                source,
            });
        }
    };
    if create == Create::New {
        return Err(UpdateError::Exists { path: target.into() });
    }
    if !metadata.is_file() {
        return Err(UpdateError::NotAFile { path: target.into() });
    }
    // Before any memory is asked for: a program that cannot get it is aborted, and leaves its lock file.
    let too_large = || UpdateError::TooLarge { path: target.into() };
    if metadata.len() > MAXIMUM_SIZE {
        return Err(too_large());
    }
    let file = File::open(target).map_err(failed("open", target))?;
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    let read = file.take(MAXIMUM_SIZE.saturating_add(1)).read_to_end(&mut text);
    let length = read.map_err(failed("read", target))?;
    if u64::try_from(length).is_ok_and(|length| length > MAXIMUM_SIZE) {
        return Err(too_large());
    }
    Ok(Some(Existing { text, metadata }))
}

fn replace<E>(
    target: &Path,
    text: &[u8],
    like: Option<&fs::Metadata>,
    options: &UpdateOptions,
) -> Result<(), UpdateError<E>> {
    let folder = folder_of(target);
    // Nobody else reads what is to be there until it has the mode that it will have; nor can anybody guess the name, or put
    // a link at it.
    let mode = if like.is_some() { 0o600 } else { options.mode };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".komar-");
    platform::set_mode(&mut builder, mode);
    let mut temporary = builder
        .tempfile_in(folder)
        .map_err(failed("create a temporary file in", folder))?;
    temporary
        .write_all(text)
        .map_err(failed("write", temporary.path()))?;
    if let Some(like) = like {
        platform::keep_owner(temporary.as_file(), like).map_err(|source| UpdateError::Owner {
            path: target.into(),
            source,
        })?;
        // Before the mode, whose bits for the group are the mask of a list.
        platform::keep_access_list(temporary.as_file(), target).map_err(|source| {
            UpdateError::AccessList {
                path: target.into(),
                source,
            }
        })?;
        platform::keep_label(temporary.as_file(), target).map_err(|source| UpdateError::Label {
            path: target.into(),
            source,
        })?;
        temporary
            .as_file()
            .set_permissions(like.permissions())
            .map_err(failed("set the mode of", target))?;
    }
    temporary
        .as_file()
        .sync_all()
        .map_err(failed("write", temporary.path()))?;
    let renamed = if options.create == Create::New {
        temporary.persist_noclobber(target)
    } else {
        temporary.persist(target)
    };
    renamed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => UpdateError::Exists { path: target.into() },
        _ => UpdateError::Io {
            action: "replace",
            path: target.into(),
            source: error.error,
        },
    })?;
    platform::sync_folder(folder).map_err(failed("write", folder))
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn failed<E>(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UpdateError<E> {
    let path = path.to_owned();
    move |source| UpdateError::Io { action, path, source }
}

/// 256 MiB, the limit of all files that a broker reads.
const MAXIMUM_SIZE: u64 = 256 << 20;

/// `FOLDER/.NAME.lock`.
fn lock_path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".lock");
    target.with_file_name(name)
}

/// Calls `attempt` until it gives something, the time is over, or it fails.
fn wait_for<T, E>(
    target: &Path,
    timeout: Duration,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> Result<T, UpdateError<E>> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) if started.elapsed() >= timeout => {
                return Err(UpdateError::Locked { path: target.into() });
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(source) => {
                return Err(UpdateError::Io {
                    action: "lock",
                    path: lock_path(target),
                    source,
                });
            }
        }
    }
}

#[cfg(unix)]
mod platform {
    use super::{Duration, File, Path, PathBuf, UpdateError, fs, io, lock_path, wait_for};
    use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};
    use std::os::unix::fs::MetadataExt as _;

    /// An empty file beside the target, locked by the kernel: a program that dies lets go of it.
    pub(super) struct Lock {
        path: PathBuf,
        _file: File,
    }

    impl Lock {
        pub(super) fn take<E>(target: &Path, timeout: Duration) -> Result<Self, UpdateError<E>> {
            let path = lock_path(target);
            let file = wait_for(target, timeout, || attempt(&path))?;
            Ok(Self { path, _file: file })
        }
    }

    impl Drop for Lock {
        /// Removed while it is still locked: who waits for it sees that it is gone, and starts anew.
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn attempt(path: &Path) -> io::Result<Option<File>> {
        let Some(file) = open(path)? else {
            return Ok(None);
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let held = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(named) if named.ino() == held.ino() && named.dev() == held.dev() => Ok(Some(file)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` if somebody else made or removed it at the same time.
    fn open(path: &Path) -> io::Result<Option<File>> {
        use rustix::io::Errno;
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let everybody = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        // Not CREATE for one that exists: in a folder with the sticky bit Linux refuses that for files of others.
        let opened = match rustix::fs::open(path, flags | OFlags::RDWR, Mode::empty()) {
            // One that another user left. Reading it is enough to lock it, except on NFS.
            Err(Errno::ACCESS) => rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()),
            Err(Errno::NOENT) => {
                let created = rustix::fs::open(
                    path,
                    flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                    everybody,
                );
                // Whatever the umask says: it holds nothing, and may have to be locked by somebody else.
                created.and_then(|file| rustix::fs::fchmod(&file, everybody).map(|()| file))
            }
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT | Errno::EXIST) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set_mode(builder: &mut tempfile::Builder<'_, '_>, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(mode));
    }

    pub(super) fn keep_owner(file: &File, like: &fs::Metadata) -> io::Result<()> {
        let now = file.metadata()?;
        let owner = (now.uid() != like.uid()).then(|| Uid::from_raw(like.uid()));
        let group = (now.gid() != like.gid()).then(|| Gid::from_raw(like.gid()));
        if owner.is_some() || group.is_some() {
            rustix::fs::fchown(file, owner, group)?;
        }
        Ok(())
    }

    /// The list of `like`, or none: the folder may have given the file one.
    #[cfg(target_os = "linux")]
    pub(super) fn keep_access_list(file: &File, like: &Path) -> io::Result<()> {
        use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, getxattr};
        use rustix::io::Errno;
        // The longest that Linux has for any attribute.
        let mut list = vec![0; 1 << 16];
        let done = match getxattr(like, ACCESS_LIST, list.as_mut_slice()) {
            Ok(length) => {
                list.truncate(length);
                fsetxattr(file, ACCESS_LIST, &list, XattrFlags::empty())
            }
            Err(Errno::NODATA) => fremovexattr(file, ACCESS_LIST),
            Err(error) => Err(error),
        };
        match done {
            // There is none, or there are no lists in this file system.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The label of `like`, if it has one and the folder has given the file one of another meaning.
    #[cfg(target_os = "linux")]
    pub(super) fn keep_label(file: &File, like: &Path) -> io::Result<()> {
        use rustix::fs::{XattrFlags, fgetxattr, fsetxattr, getxattr};
        use rustix::io::Errno;
        let (mut label, mut given) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let done = getxattr(like, LABEL, label.as_mut_slice()).and_then(|length| {
            label.truncate(length);
            let length = fgetxattr(file, LABEL, given.as_mut_slice()).unwrap_or(0);
            given.truncate(length);
            match type_and_level(&given) == type_and_level(&label) {
                true => Ok(()),
                false => fsetxattr(file, LABEL, &label, XattrFlags::empty()),
            }
        });
        match done {
            // There is none, or none in this file system. `PERM`: SELinux is off, and whoever is not root may not give a label,
            // which nobody looks at. Where it is on it says `ACCES`.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What policies ask about, of `USER:ROLE:TYPE:LEVEL`. The user is whoever made the file, and not everybody may give it
    /// to another one.
    #[cfg(target_os = "linux")]
    fn type_and_level(label: &[u8]) -> Option<&[u8]> {
        let label = label.strip_suffix(b"\0").unwrap_or(label);
        label.splitn(3, |byte| *byte == b':').nth(2)
    }

    #[cfg(all(test, target_os = "linux"))]
    #[test]
    fn who_made_a_file_is_not_compared() {
        let [old, own, other] = [
            &b"system_u:object_r:etc_t:s0:c1,c2\0"[..],
            b"unconfined_u:object_r:etc_t:s0:c1,c2",
            b"system_u:object_r:etc_t:s0\0",
        ]
        .map(type_and_level);
        assert_eq!(old, own);
        assert_ne!(old, other);
        assert_eq!(type_and_level(b""), None);
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn keep_access_list(_: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn keep_label(_: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    const ACCESS_LIST: &str = "system.posix_acl_access";
    #[cfg(target_os = "linux")]
    const LABEL: &str = "security.selinux";

    pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[cfg(not(unix))]
mod platform {
    use super::{Duration, File, Path, PathBuf, UpdateError, fs, io, lock_path, wait_for};

    /// An empty file beside the target that exists while it is locked; one left by a program that died must be deleted.
    pub(super) struct Lock(PathBuf);

    impl Lock {
        pub(super) fn take<E>(target: &Path, timeout: Duration) -> Result<Self, UpdateError<E>> {
            let path = lock_path(target);
            wait_for(target, timeout, || match File::create_new(&path) {
                Ok(_) => Ok(Some(())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(error),
            })?;
            Ok(Self(path))
        }
    }

    impl Drop for Lock {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    pub(super) fn set_mode(_: &mut tempfile::Builder<'_, '_>, _: u32) {}

    pub(super) fn keep_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn keep_access_list(_: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn keep_label(_: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
        Ok(())
    }
}
