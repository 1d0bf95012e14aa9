//! Other programs: started, listened to, and never left behind.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running program. Dropping it kills it, and shows what it wrote if the test is failing.
pub(crate) struct Program {
    name: String,
    child: Child,
    transcript: Arc<Transcript>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote to standard output and standard error, as it came.
    pub(crate) text: String,
}

#[derive(Default)]
struct Transcript {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// Streams that have ended, of two.
    ended: usize,
}

impl Program {
    /// Starts a program; standard input is empty unless the command has another one.
    pub(crate) fn start(command: &mut Command) -> Program {
        Program::start_as_is(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// The same with the streams that the command has. Those that are no pipes are not followed.
    pub(crate) fn start_as_is(command: &mut Command) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let transcript = Arc::<Transcript>::default();
        let output = child
            .stdout
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>);
        let errors = child
            .stderr
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>);
        for stream in [output, errors] {
            let stream = stream.unwrap_or_else(|| Box::new(std::io::empty()));
            let transcript = Arc::clone(&transcript);
            std::thread::spawn(move || transcript.follow(stream));
        }
        Program {
            name,
            child,
            transcript,
        }
    }

    /// Runs a program to its end.
    pub(crate) fn run(command: &mut Command) -> Ended {
        Program::start(command.stdin(Stdio::null())).end()
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.transcript
                    .wait(deadline, |written| (written.ended == 2).then_some(()));
                return Ended {
                    status,
                    text: self.text(),
                };
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end; it wrote:\n{}",
                self.name,
                self.text()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for a line that contains these words. `Err` if the program ends without it.
    pub(crate) fn wait_for(&self, words: &str) -> Result<String, String> {
        let found = self.transcript.wait(Instant::now() + PATIENCE, |written| {
            let line = written.lines.iter().find(|line| line.contains(words));
            line.map(|line| Ok(line.clone()))
                .or_else(|| (written.ended == 2).then(|| Err(written.lines.join("\n"))))
        });
        found.unwrap_or_else(|| panic!("{} did not say '{words}'; it wrote:\n{}", self.name, self.text()))
    }

    /// Waits for a line behind the first `from` lines that holds these words (see [`holds`]), and says where the rest begins.
    /// `None` if the program ends, or is silent for too long, without it.
    pub(crate) fn wait_from(&self, from: usize, words: &str) -> Option<usize> {
        let found = self.transcript.wait(Instant::now() + PATIENCE, |written| {
            let mut lines = written.lines.iter().enumerate().skip(from);
            let found = lines.find(|(_, line)| holds(line, words));
            found
                .map(|(place, _)| Some(place + 1))
                .or_else(|| (written.ended == 2).then_some(None))
        });
        found.flatten()
    }

    /// Asks it to end, as a service manager or Ctrl-C does.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// As [`signal`](Self::signal), for those without a name.
    pub(crate) fn signal_number(&self, number: i32) {
        let line = format!("kill -{number} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status().unwrap();
        assert!(status.success(), "{line}");
    }

    /// Ends it without a word, as a lost connection looks to its peer.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it wrote until now.
    pub(crate) fn text(&self) -> String {
        self.transcript.lock().lines.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = &self.transcript.lock().lines;
            let last = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
            eprintln!(
                "---- {} wrote (last lines):\n{}\n----",
                self.name,
                last.join("\n")
            );
        }
    }
}

impl Ended {
    /// Fails unless the exit status is this one.
    #[track_caller]
    pub(crate) fn expect_status(&self, status: i32, context: impl Display) -> &Ended {
        assert_eq!(
            self.status.code(),
            Some(status),
            "{context}: exit status; it wrote:\n{}",
            self.text
        );
        self
    }

    /// Fails unless it wrote these words.
    #[track_caller]
    pub(crate) fn expect_text(&self, words: &str, context: impl Display) -> &Ended {
        assert!(
            self.text.contains(words),
            "{context}: '{words}' is missing in:\n{}",
            self.text
        );
        self
    }
}

impl Transcript {
    fn follow(&self, stream: impl Read) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.lock().lines.push(text);
            self.changed.notify_all();
            line.clear();
        }
        self.lock().ended += 1;
        self.changed.notify_all();
    }

    fn wait<T>(&self, deadline: Instant, find: impl Fn(&Written) -> Option<T>) -> Option<T> {
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&written) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            written = self
                .changed
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a line holds words, and others behind them where ` ... ` stands between.
fn holds(line: &str, words: &str) -> bool {
    let mut rest = line;
    words.split(" ... ").all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// Lines that are shown of a program that ran while a test failed.
const SHOWN: usize = 40;

/// Between two looks at a program that is about to end.
const PAUSE: Duration = Duration::from_millis(3);
