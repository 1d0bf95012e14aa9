//! The broker from its start to its end: configuration, log, listeners, signals.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use komar_broker_core::Broker;
use komar_conf::{Config, ConfigErrors, Disk, LogTypes, Warning};
use komar_server::setup::{self, SetupErrors};
use komar_server::{InheritedSockets, ListenAddress, ReloadError, Server, ServerBuilder, StartError};
use rustls::KeyLog;

use crate::args::Options;
use crate::exposed;
use crate::keylog::KeyLogFile;
use crate::logging;
use crate::output::{Output, Streams};
use crate::process::{self, PidFile, ProcessError};
use crate::service;
use crate::signals::{self, SAME_WISH, Wish, Wishes};

/// Why the broker did not run, or did not take a new configuration.
pub(crate) enum Failure {
    Config(ConfigErrors),
    Setup(SetupErrors),
    Start(StartError),
    Reload(ReloadError),
    /// A part of the running broker has ended, which has been said.
    Broken,
    Signals(std::io::Error),
    KeyLog(std::io::Error),
    Inherited(std::io::Error),
    Process(ProcessError),
    /// What is wrong with each destination of the log.
    Log(Vec<String>),
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Failure {
        Failure::Process(error)
    }
}

/// Runs the broker until it is told to stop. Returns the exit status.
pub(crate) fn run(options: &Options, streams: &mut Streams) -> i32 {
    let status = match serve(options, streams) {
        Ok(()) => 0,
        Err(failure) => {
            failure.log();
            // Whoever started the broker may not know where its log is.
            if !logging::is_at_hand() {
                failure.print(&mut streams.errors);
            }
            failure.exit_status()
        }
    };
    if !options.test_config {
        tell_end(&mut streams.errors);
        logging::finish();
    }
    status
}

/// The last line, after a failure too.
fn tell_end(errors: &mut Output) {
    let text = format!("komar version {} terminating", env!("CARGO_PKG_VERSION"));
    if logging::is_installed() {
        tracing::info!("{text}");
    } else {
        errors.line(format_args!("{}: {text}", seconds()));
    }
}

/// What lines begin with as long as there is no log.
fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Reads the configuration that was named, or takes the one that holds without any.
fn load(options: &Options) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let (mut config, warnings) = match &options.config {
        Some(path) => {
            let loaded = komar_conf::load(path, &Disk)?;
            (loaded.config, loaded.warnings)
        }
        None => (komar_conf::default_config(), Vec::new()),
    };
    config.set_local_ports(&options.ports);
    if options.log.verbose {
        config.logging.types = LogTypes::ALL;
    }
    Ok((config, warnings))
}

fn serve(options: &Options, streams: &mut Streams) -> Result<(), Failure> {
    let (mut config, warnings) = load(options).map_err(Failure::Config)?;
    if options.test_config {
        for warning in &warnings {
            streams.errors.line(warning);
        }
        streams.output.line("Configuration file is OK.");
        return Ok(());
    }
    let remark = process::drop_privileges(&config.user)?;
    process::set_umask()?;
    if options.background {
        process::go_to_background()?;
    }
    logging::install(&config.logging, options.log);
    logging::note_panics();
    tracing::info!("komar version {} starting", env!("CARGO_PKG_VERSION"));
    match &options.config {
        Some(path) => tracing::info!("Config loaded from {}.", path.display()),
        None => tracing::info!("Using default config."),
    }
    if let Some(remark) = remark {
        tracing::warn!("{remark}.");
    }
    tell_warnings(&warnings);
    let mut wishes = Wishes::watch().map_err(Failure::Signals)?;
    let key_log = match &options.tls_keylog {
        Some(path) => {
            let file = KeyLogFile::open(path).map_err(Failure::KeyLog)?;
            tracing::warn!(
                "The keys of all TLS connections are written to {}.",
                path.display()
            );
            Some(Arc::new(file) as Arc<dyn KeyLog>)
        }
        None => None,
    };
    let failure = wishes.failure();
    let server = start(&config, options, key_log.as_ref(), move || failure.close())?;
    // Not before: a second start that fails for a listener leaves the first one's file as it is. Held until the end, and
    // removed then.
    let _pid_file = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    tracing::info!("komar version {} running", env!("CARGO_PKG_VERSION"));
    service::ready(&server);
    let end = loop {
        match wishes.next() {
            Wish::Stop => break Ok(()),
            Wish::Fail => break Err(Failure::Broken),
            Wish::ReopenLog => {
                logging::reopen();
                tracing::info!("Log file opened again.");
            }
            Wish::Save => tracing::warn!("SIGUSR1: there is no store yet, nothing is written."),
            Wish::ShowSubscriptions if options.background => {
                tracing::warn!(
                    "SIGUSR2: nobody reads standard output, as the broker was started with -d; the subscriptions are not shown."
                );
            }
            Wish::ShowSubscriptions => show_subscriptions(server.broker()),
            Wish::Reload => {
                // Whatever comes of the rest: whoever rotates logs reloads too, and takes the old file away.
                logging::reopen();
                tracing::info!("Reloading config.");
                service::reloading();
                match reload(&server, &config, options, key_log.as_ref()) {
                    Ok(new) => config = new,
                    Err(failure) => {
                        failure.log();
                        tracing::error!("The configuration was not reloaded; nothing has changed.");
                    }
                }
                service::reloaded();
            }
        }
    };
    logging::publish_with(None);
    let pid_file = config.pid_file.clone();
    if let Err(error) = signals::at_next_stop(SAME_WISH, move || end_at_once(pid_file.as_deref())) {
        tracing::warn!("a second signal will not end the broker at once: {error}");
    }
    tracing::debug!("Stopping; an INT or TERM a second from now or later ends the broker at once.");
    service::stopping();
    server.stop();
    end
}

/// For whoever does not wait for an end in order, which may be one that never comes: a store that does not answer.
fn end_at_once(pid_file: Option<&Path>) {
    tracing::error!("Told to end while it ends: not everybody was told, nor everything stored.");
    if let Some(path) = pid_file {
        process::remove_pid_file(path);
    }
    logging::finish();
    std::process::exit(1);
}

/// Opens every file that the configuration names, and starts.
fn start(
    config: &Config,
    options: &Options,
    key_log: Option<&Arc<dyn KeyLog>>,
    on_failure: impl Fn() + Send + Sync + 'static,
) -> Result<Server, Failure> {
    if config.local_only {
        tracing::info!("Starting in local only mode. Connections will only be possible from this machine.");
        tracing::info!("Define a listener in a configuration file to accept others.");
        tracing::info!("With a listener, clients need a user name unless allow_anonymous is true.");
    }
    let inherited = InheritedSockets::from_env().map_err(Failure::Inherited)?;
    let builder = prepare(config, options, key_log)?
        .inherited_sockets(inherited)
        .reactors(options.reactors)
        .password_threads(
            config
                .password_threads
                .map_or_else(half_of_the_processors, |threads| threads.get().into()),
        )
        .placement(options.placement)
        .on_failure(on_failure);
    let server = builder.start().map_err(Failure::Start)?;
    server.listen_addresses().iter().for_each(tell_opening);
    let publisher = server.publisher();
    logging::publish_with(Some(Box::new(move |topic, text| {
        publisher.publish_line(topic, text)
    })));
    Ok(server)
}

/// How many passwords are checked at the same time: a storm of logins leaves the other half to messages. Each takes
/// the memory that its hash asks for, 46 MiB with argon2id.
fn half_of_the_processors() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

/// Reads everything again, into a fresh structure, and takes all of it into force or nothing.
fn reload(
    server: &Server,
    running: &Config,
    options: &Options,
    key_log: Option<&Arc<dyn KeyLog>>,
) -> Result<Config, Failure> {
    let (mut config, warnings) = load(options).map_err(Failure::Config)?;
    tell_warnings(&warnings);
    let (builder, log) = (
        prepare(&config, options, key_log),
        logging::Log::open(&config.logging, options.log),
    );
    if let (Err(_), Err(problems)) = (&builder, &log) {
        for problem in problems {
            tracing::error!("{problem}.");
        }
    }
    let (builder, log) = (builder?, log.map_err(Failure::Log)?);
    let reloaded = server.reload(builder).map_err(Failure::Reload)?;
    log.apply();
    reloaded.added.iter().for_each(tell_opening);
    for address in &reloaded.removed {
        tracing::info!("Closing the listen socket {address}; its clients are disconnected.");
    }
    for (name, is_same) in [
        ("user", running.user == config.user),
        ("pid_file", running.pid_file == config.pid_file),
        ("sys_version", running.sys_version == config.sys_version),
        (
            "password_threads",
            running.password_threads == config.password_threads,
        ),
    ] {
        if !is_same {
            tracing::warn!("'{name}' has changed; that takes effect after a restart.");
        }
    }
    // What still runs as before is compared with next time.
    config.user.clone_from(&running.user);
    config.pid_file.clone_from(&running.pid_file);
    config.sys_version.clone_from(&running.sys_version);
    config.password_threads = running.password_threads;
    tracing::info!("Config reloaded.");
    Ok(config)
}

fn prepare(
    config: &Config,
    options: &Options,
    key_log: Option<&Arc<dyn KeyLog>>,
) -> Result<ServerBuilder, Failure> {
    for problem in exposed::problems(options.config.as_deref(), config) {
        tracing::warn!("{problem}.");
    }
    let setup = setup::prepare(config).map_err(|errors| {
        for warning in errors.warnings() {
            tracing::warn!("{warning}.");
        }
        Failure::Setup(errors)
    })?;
    for warning in &setup.warnings {
        tracing::warn!("{warning}.");
    }
    Ok(match key_log {
        Some(log) => setup.builder.tls_key_log(log),
        None => setup.builder,
    })
}

fn tell_warnings(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{}", warning.to_string().trim_start_matches("Warning: "));
    }
}

fn tell_opening(address: &ListenAddress) {
    match address {
        ListenAddress::Tcp(address) => {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            let port = address.port();
            tracing::info!("Opening {family} listen socket on port {port} ({address}).");
        }
        other => tracing::info!("Opening unix listen socket on path {other}."),
    }
}

/// A line for each subscription: filter, QoS, client.
fn show_subscriptions(broker: &Broker) {
    let mut clients = Vec::new();
    broker.for_each_session(|session| clients.push(session.client_id));
    clients.sort();
    let mut text = String::new();
    for client in clients {
        for subscription in broker.subscriptions(&client).unwrap_or_default() {
            let qos = subscription.maximum_qos.as_u8();
            text.push_str(&format!("{} {qos} {client}\n", subscription.filter));
        }
    }
    if !logging::print(&text) {
        tracing::warn!("SIGUSR2: nobody reads standard output; the subscriptions are not shown.");
    }
}

impl Failure {
    fn log(&self) {
        for line in self.to_string().lines() {
            tracing::error!("{}", line.strip_prefix("Error: ").unwrap_or(line));
        }
    }

    fn print(&self, errors: &mut Output) {
        for line in self.to_string().lines() {
            errors.line(format_args!("{}: {line}", seconds()));
        }
    }

    fn exit_status(&self) -> i32 {
        match self {
            Failure::Config(errors) => errors.exit_status().into(),
            Failure::Setup(errors) => errors.exit_status(),
            Failure::Process(error) => error.exit_status(),
            _ => 1,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Config(errors) => errors.fmt(f),
            Failure::Setup(errors) => errors.fmt(f),
            // Why comes first, as with Mosquitto.
            Failure::Start(StartError::Bind { address, source }) => {
                let reason = source.to_string();
                let reason = reason.split(" (os error").next().unwrap_or_default();
                let suspicion = match source.kind() {
                    std::io::ErrorKind::AddrInUse => "; another broker may be running there",
                    _ => "",
                };
                write!(f, "Error: {reason}: cannot listen on {address}{suspicion}.")
            }
            Failure::Start(StartError::NoListener) | Failure::Reload(ReloadError::NoListener) => {
                f.write_str("Error: the configuration has no listener that can be opened.")
            }
            Failure::Start(error) => write!(f, "Error: {error}."),
            Failure::Reload(error) => write!(f, "Error: {error}."),
            Failure::Broken => f.write_str("Error: the broker cannot go on, and ends."),
            Failure::Process(error) => write!(f, "Error: {error}."),
            Failure::Log(problems) => {
                let lines: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("Error: {problem}."))
                    .collect();
                f.write_str(&lines.join("\n"))
            }
            Failure::Inherited(error) => {
                write!(
                    f,
                    "Error: a socket of the service manager cannot be used: {error}."
                )
            }
            Failure::KeyLog(error) => write!(f, "Error: cannot write the TLS keys: {error}."),
            Failure::Signals(error) => write!(f, "Error: cannot watch for signals: {error}."),
        }
    }
}
