//! What a service manager is told (sd_notify), and the watchdog. Without one, nothing happens.

use std::time::Duration;

use komar_server::{Health, Server};
use sd_notify::NotifyState;

/// The broker accepts connections. Starts the watchdog if the service manager wants one.
pub(crate) fn ready(server: &Server) {
    tell(&[NotifyState::Ready]);
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    let health = server.health();
    let thread = std::thread::Builder::new().name("komar-watchdog".to_owned());
    if let Err(error) = thread.spawn(move || watch(&health, limit / 4)) {
        tracing::error!("cannot start the watchdog: {error}; the service manager will restart the broker");
    }
}

/// The configuration is being read again; [`reloaded`] follows, whatever came of it.
pub(crate) fn reloading() {
    // systemd tells by the time whether READY belongs to this reload (Type=notify-reload).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The reload is over.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The broker is being stopped.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that all is well as long as the reactors answer. Ends with the process.
fn watch(health: &Health, step: Duration) {
    let mut problem: Option<String> = None;
    loop {
        if health.answers_within(step) {
            // Said once, not at each beat.
            problem = tell_unless(&[NotifyState::Watchdog], problem.as_deref());
        } else {
            tracing::warn!("a reactor has not answered for {step:?}");
        }
        std::thread::sleep(step);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    tell_unless(state, None);
}

/// Why that failed, which is said unless it was known.
fn tell_unless(state: &[NotifyState<'_>], known: Option<&str>) -> Option<String> {
    let problem = sd_notify::notify(state).err()?.to_string();
    if known != Some(&problem) {
        tracing::warn!("the service manager cannot be told: {problem}");
    }
    Some(problem)
}
