//! The demo's folder: certificates, configurations, ACL file and password file of the classic tutorial.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use komar_passwd::{Create, Scheme, StoredHash, UpdateOptions};
use nix::fcntl::{Flock, FlockArg};

use super::Problem;
use crate::certificates::Authority;

/// A folder with everything that the demo needs.
///
/// The files name each other without the folder, as Mosquitto's tutorial does: the folder can be moved, and the broker is
/// started in it.
pub(super) struct Site {
    folder: PathBuf,
}

impl Site {
    /// Takes the folder of an earlier demo, finishes one that was interrupted, or makes a new one. Another demo that
    /// does the same is waited for.
    pub(super) fn at(folder: &Path) -> Result<Site, Problem> {
        let folder = absolute(folder)?;
        fs::create_dir_all(&folder)
            .map_err(|error| Problem::of(format!("cannot make {}", folder.display()), error))?;
        refuse_foreign(&folder)?;
        let mut marker = Marker::lock(folder.join(MARKER))?;
        let site = Site { folder };
        if !marker.says_complete()? {
            site.make_certificates()?;
            site.make_password_file()?;
            site.write("myacl.conf", ACL)?;
            site.write(PASSWORD_CONFIGURATION, &configuration(PASSWORD_PORT, false))?;
            site.write(CONFIGURATION, &configuration(PORT, true))?;
            marker.set_complete()?;
        }
        Ok(site)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    fn make_certificates(&self) -> Result<(), Problem> {
        let problem = |error| Problem::of("cannot make certificates", error);
        let (authority, certificate) = Authority::create("caMQTT", DAYS).map_err(problem)?;
        self.write("caMQTT.crt", &certificate)?;
        self.write_secret("caMQTT.key", &authority.key_pem())?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut pairs = vec![("broker", authority.issue_server(&names, DAYS))];
        pairs.extend([PLC, SCADA].map(|client| (client, authority.issue_client(client, DAYS))));
        for (name, pair) in pairs {
            let (certificate, key) = pair.map_err(problem)?;
            self.write(&format!("{name}.crt"), &certificate)?;
            self.write_secret(&format!("{name}.key"), &key)?;
        }
        Ok(())
    }

    fn make_password_file(&self) -> Result<(), Problem> {
        let path = self.file("pwfile");
        for (user, password) in USERS {
            let mut salt = [0; 64];
            getrandom::fill(&mut salt).map_err(|error| Problem::of("no random bytes", error))?;
            let hash = StoredHash::derive(Scheme::default(), password.as_bytes(), &salt)
                .map_err(|error| Problem::of("cannot hash a password", error))?;
            let options = UpdateOptions::default().create(Create::IfMissing);
            komar_passwd::update(&path, &options, |editor| editor.set(user, &hash))
                .map_err(|error| Problem::of(format!("cannot write {}", path.display()), error))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Problem> {
        let path = self.file(name);
        fs::write(&path, text).map_err(|error| unwritable(&path, error))
    }

    /// Writes a file that only its owner may read.
    fn write_secret(&self, name: &str, text: &str) -> Result<(), Problem> {
        let path = self.file(name);
        let written = remove_if_there(&path).and_then(|()| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&path)?.write_all(text.as_bytes())
        });
        written.map_err(|error| unwritable(&path, error))
    }
}

/// The first file in a demo's folder, locked while the others are made: empty until they are all there.
struct Marker {
    path: PathBuf,
    file: Flock<File>,
}

impl Marker {
    /// Opens or makes it, and waits until no other demo holds it.
    fn lock(path: PathBuf) -> Result<Marker, Problem> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|error| unwritable(&path, error))?;
        let file = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| Problem::of(format!("cannot lock {}", path.display()), error))?;
        Ok(Marker { path, file })
    }

    fn says_complete(&mut self) -> Result<bool, Problem> {
        let mut text = String::new();
        self.file
            .read_to_string(&mut text)
            .map_err(|error| Problem::of(format!("cannot read {}", self.path.display()), error))?;
        Ok(text == COMPLETE)
    }

    fn set_complete(&mut self) -> Result<(), Problem> {
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(COMPLETE.as_bytes()));
        written.map_err(|error| unwritable(&self.path, error))
    }
}

/// The whole path, which people are to copy from the terminal into a shell.
fn absolute(folder: &Path) -> Result<PathBuf, Problem> {
    let refusal = |why: &str| Err(Problem::new(format!("--dir {folder:?}: {why}")));
    if folder.as_os_str().is_empty() {
        return refusal("the name is empty");
    }
    let path = std::path::absolute(folder)
        .map_err(|error| Problem::of(format!("cannot find {}", folder.display()), error))?;
    match path.to_str() {
        None => refusal("the name is not UTF-8, so that the commands to copy could not contain it"),
        Some(text) if text.contains(char::is_control) => refusal(
            "the name contains a control character, so that the commands to copy could not contain it",
        ),
        Some(_) => Ok(path),
    }
}

/// A folder of somebody else may hold files of the same names.
fn refuse_foreign(folder: &Path) -> Result<(), Problem> {
    let mut entries = folder
        .read_dir()
        .map_err(|error| Problem::of(format!("cannot look into {}", folder.display()), error))?;
    let occupied = entries.next().is_some();
    // In this order: a demo that began meanwhile has made its marker before anything else.
    if occupied && !folder.join(MARKER).exists() {
        return Err(Problem::new(format!(
            "{} is not empty and was not made by a demo; name another folder with --dir",
            folder.display()
        )));
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: io::Error) -> Problem {
    Problem::of(format!("cannot write {}", path.display()), error)
}

/// The tutorial's configuration: with certificates as identities, or with certificates and passwords.
fn configuration(port: u16, identity: bool) -> String {
    let password_file = if identity { "#" } else { "" };
    format!(
        "# Names of files count from the folder in which the broker is started: this one.\n\
         listener {port}\n\
         certfile broker.crt\n\
         keyfile broker.key\n\
         require_certificate true\n\
         cafile caMQTT.crt\n\
         use_identity_as_username {identity}\n\
         acl_file myacl.conf\n\
         {password_file}password_file pwfile\n"
    )
}

pub(super) const CONFIGURATION: &str = "mosquitto.conf";
pub(super) const PASSWORD_CONFIGURATION: &str = "mosquitto-password.conf";
pub(super) const PLC: &str = "myPLC";
pub(super) const SCADA: &str = "myD2000";
pub(super) const USERS: [(&str, &str); 2] = [("myuser1", "mypassword1"), ("myuser2", "mypassword2")];
const MARKER: &str = ".komar-demo";
const COMPLETE: &str = "This folder was made by `komar demo`, and is whole.\n";
const PORT: u16 = 8883;
const PASSWORD_PORT: u16 = 8884;
const DAYS: u32 = 1000;
const ACL: &str = "\
#user without username: anonymous is forbidden, but just to make sure: deny everything
topic deny

#MQTT client myPLC: writes to PLC1/out, subscribes to PLC1/cmd
user myPLC
topic write PLC1/out
topic read PLC1/cmd

#MQTT client myD2000: reads from PLC1/out, writes to PLC1/cmd
user myD2000
topic read PLC1/out
topic write PLC1/cmd
";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_acl_file_is_the_tutorials() {
        assert_eq!(
            ACL,
            include_str!("../../../tests/interop/data/tutorial/myacl.conf")
        );
    }

    #[test]
    fn a_whole_folder_is_taken_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("site");
        let made = Site::at(&folder).unwrap_or_else(|problem| panic!("{problem}"));
        let key = fs::read(made.file("caMQTT.key")).unwrap();
        fs::write(made.file(CONFIGURATION), "listener 1\n").unwrap();
        fs::write(made.file("notes.txt"), "mine").unwrap();
        let again = Site::at(&folder).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(fs::read(again.file("caMQTT.key")).unwrap(), key);
        assert_eq!(fs::read(again.file(CONFIGURATION)).unwrap(), b"listener 1\n");
    }

    #[test]
    fn what_was_interrupted_is_finished() {
        let whole = tempfile::tempdir().unwrap();
        Site::at(whole.path()).unwrap_or_else(|problem| panic!("{problem}"));
        let names = names(whole.path());
        // At the first file, in the midst of one, and before the last step.
        for kept in [
            &[][..],
            &["caMQTT.crt", "caMQTT.key"],
            &names_without_marker(&names),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(MARKER), "").unwrap();
            for name in kept {
                fs::write(folder.path().join(name), "-----BEGIN").unwrap();
            }
            // A password file is read before it is changed, and is replaced in one step.
            let _ = fs::write(folder.path().join("pwfile"), "");
            let site = Site::at(folder.path()).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(self::names(site.folder()), names);
            let read = |name| fs::read_to_string(site.file(name)).unwrap();
            let (certificate, key) = (read("caMQTT.crt"), read("caMQTT.key"));
            assert!(Authority::from_pem((certificate.as_bytes(), "crt"), (key.as_bytes(), "key")).is_ok());
            assert_eq!(read(MARKER), COMPLETE);
        }
    }

    fn names_without_marker(names: &[String]) -> Vec<&str> {
        let names = names.iter().map(String::as_str);
        names.filter(|name| *name != MARKER).collect()
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIGURATION), "listener 1883\n").unwrap();
        fs::write(folder.path().join("caMQTT.crt"), "").unwrap();
        let problem = Site::at(folder.path()).err().unwrap().to_string();
        assert!(problem.contains("was not made by a demo"), "{problem}");
        assert_eq!(names(folder.path()), ["caMQTT.crt", CONFIGURATION]);
    }

    #[test]
    fn names_that_no_one_can_copy_are_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let parent = tempfile::tempdir().unwrap();
        let invalid = std::ffi::OsStr::from_bytes(b"\xff");
        for (folder, word) in [
            (PathBuf::new(), "empty"),
            (parent.path().join("a\nb"), "control character"),
            (parent.path().join(invalid), "UTF-8"),
        ] {
            let problem = Site::at(&folder).err().unwrap().to_string();
            assert!(problem.contains(word), "{problem}");
        }
        assert!(names(parent.path()).is_empty());
    }
}
