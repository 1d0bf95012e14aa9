//! The broker from its start to its end: configuration, log, listeners, signals.

use komar_conf::{Config, ConfigErrors, Disk, Warning};
use komar_server::setup::{self, SetupErrors};
use komar_server::{InheritedSockets, Server, StartError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Options;
use crate::logging;
use crate::output::Streams;
use crate::process::{self, PidFile, ProcessError};
use crate::service;

/// Why the broker did not run.
pub(crate) enum Failure {
    Config(ConfigErrors),
    Setup(SetupErrors),
    Start(StartError),
    Log(std::io::Error),
    Signals(std::io::Error),
    Inherited(std::io::Error),
    Process(ProcessError),
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
            let (text, status) = describe(&failure);
            streams.errors.line(text);
            status
        }
    };
    if !options.test_config {
        tracing::info!("komar version {} terminating", env!("CARGO_PKG_VERSION"));
    }
    status
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
    Ok((config, warnings))
}

fn serve(options: &Options, streams: &mut Streams) -> Result<(), Failure> {
    let (config, warnings) = load(options).map_err(Failure::Config)?;
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
    // Held until the end, and removed then.
    let _pid_file = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    logging::install(&config.logging, options.verbose, options.quiet).map_err(Failure::Log)?;
    tracing::info!("komar version {} starting", env!("CARGO_PKG_VERSION"));
    match &options.config {
        Some(path) => tracing::info!("Config loaded from {}.", path.display()),
        None => tracing::info!("Using default config."),
    }
    if let Some(remark) = remark {
        tracing::warn!("{remark}.");
    }
    for warning in &warnings {
        tracing::warn!("{}", warning.to_string().trim_start_matches("Warning: "));
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::Signals)?;
    let server = start(&config, options)?;
    tracing::info!("komar version {} running", env!("CARGO_PKG_VERSION"));
    service::ready(&server);
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        tracing::warn!("SIGHUP: reload is not available yet; nothing has changed. Restart to apply changes.");
    }
    service::stopping();
    server.stop();
    Ok(())
}

/// Opens every file that the configuration names, and starts.
fn start(config: &Config, options: &Options) -> Result<Server, Failure> {
    if config.local_only {
        tracing::info!("Starting in local only mode. Connections will only be possible from this machine.");
        tracing::info!("Define a listener in a configuration file to accept others.");
    }
    let setup = setup::prepare(config).map_err(|errors| {
        for warning in errors.warnings() {
            tracing::warn!("{warning}");
        }
        Failure::Setup(errors)
    })?;
    for warning in &setup.warnings {
        tracing::warn!("{warning}");
    }
    let builder = setup
        .builder
        .reactors(options.reactors)
        .placement(options.placement);
    let inherited = InheritedSockets::from_env().map_err(Failure::Inherited)?;
    let server = builder
        .inherited_sockets(inherited)
        .start()
        .map_err(Failure::Start)?;
    for address in server.listen_addresses() {
        match address.tcp() {
            Some(address) => {
                let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
                tracing::info!(
                    "Opening {family} listen socket on port {} ({address}).",
                    address.port()
                );
            }
            None => tracing::info!("Opening unix listen socket on path {address}."),
        }
    }
    Ok(server)
}

fn describe(failure: &Failure) -> (String, i32) {
    match failure {
        Failure::Config(errors) => (errors.to_string(), errors.exit_status().into()),
        Failure::Setup(errors) => (errors.to_string(), errors.exit_status()),
        Failure::Start(error) => (format!("Error: {error}."), 1),
        Failure::Log(error) => (format!("Error: cannot write the log: {error}."), 1),
        Failure::Process(error) => (format!("Error: {error}."), error.exit_status()),
        Failure::Inherited(error) => (
            format!("Error: a socket of the service manager cannot be used: {error}."),
            1,
        ),
        Failure::Signals(error) => (format!("Error: cannot watch for signals: {error}."), 1),
    }
}
