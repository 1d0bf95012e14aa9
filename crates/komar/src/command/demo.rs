//! `komar demo`: the classic two-client set-up of an industrial site, made, run and shown.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use komar_codec::ReasonCode;
use komar_conf::{Config, Disk};
use komar_passwd::{Create, Scheme, StoredHash, UpdateOptions};
use komar_server::{Placement, Server, setup};
use lexopt::prelude::*;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::Authority;
use crate::demo_client::{ClientError, DemoClient, Introduction};

const HELP: &str = "\
komar demo - make a small MQTT site, run it, and show that it does what it should

Usage: komar demo [--dir FOLDER] [--once] [--reactors N]

Makes a folder (default: ./komar-demo) with a certificate authority, certificates for the broker and two clients, a
mosquitto.conf, an ACL file and a password file; starts the broker on it; lets clients of its own connect over TLS
and shows what they may and may not do; then serves until Ctrl-C. A folder that a demo has made is used again.

      --dir FOLDER    where the files are
      --once          end after the exchange; exit status 0 only if everything held
      --reactors N    run on N threads, with publisher and subscriber on different ones (default: 1)
";

struct Options {
    folder: PathBuf,
    once: bool,
    reactors: usize,
}

/// Runs the command.
pub(crate) fn run(arguments: &[OsString]) -> i32 {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return 0;
        }
        Err(error) => {
            eprintln!("Error: {error}.\n\n{HELP}");
            return 1;
        }
    };
    match demonstrate(&options) {
        Ok(()) => 0,
        Err(error) => {
            // Errors that come from a file end with a full stop of their own.
            eprintln!("Error: {}.", error.to_string().trim_end_matches('.'));
            1
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Option<Options>, String> {
    let mut options = Options {
        folder: PathBuf::from("komar-demo"),
        once: false,
        reactors: 1,
    };
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("dir") => options.folder = parser.value().map_err(text)?.into(),
            Long("once") => options.once = true,
            Long("reactors") => {
                options.reactors = parser.value().and_then(|value| value.parse()).map_err(text)?
            }
            other => return Err(text(other.unexpected())),
        }
    }
    Ok(Some(options))
}

/// What went wrong, with what was being done.
struct Problem(String);

impl Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn while_doing<E: Display>(what: impl Display) -> impl FnOnce(E) -> Problem {
    move |error| Problem(format!("{what}: {error}"))
}

fn demonstrate(options: &Options) -> Result<(), Problem> {
    let folder = make_folder(&options.folder)?;
    println!("1. The files are in {}:", folder.display());
    println!(
        "   caMQTT.crt, broker.crt, myPLC.crt, myD2000.crt with their keys, mosquitto.conf, myacl.conf, pwfile\n"
    );

    let (server, address) = start(&folder.join("mosquitto.conf"), options)?;
    println!(
        "2. The broker runs on {address}. A client needs a certificate of caMQTT; its CN becomes the user name.\n"
    );
    show_certificates(&folder, address).map_err(while_doing("the exchange with certificates failed"))?;

    let (second, password_address) = start(&folder.join("mosquitto-password.conf"), options)?;
    show_passwords(&folder, password_address).map_err(while_doing("the exchange with passwords failed"))?;
    second.stop();

    if options.once {
        server.stop();
        println!("Everything held.");
        return Ok(());
    }
    print_commands(&folder, address);
    serve_until_interrupted(server)
}

fn serve_until_interrupted(server: Server) -> Result<(), Problem> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(while_doing("cannot watch for Ctrl-C"))?;
    signals.forever().next();
    server.stop();
    println!("\nStopped.");
    Ok(())
}

/// Makes the files, or takes those of an earlier demo.
fn make_folder(folder: &Path) -> Result<PathBuf, Problem> {
    let made_before = folder.join("mosquitto.conf").exists() && folder.join("caMQTT.crt").exists();
    let occupied = folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !made_before {
        return Err(Problem(format!(
            "{} is not empty and was not made by a demo; name another folder with --dir",
            folder.display()
        )));
    }
    std::fs::create_dir_all(folder).map_err(while_doing(format!("cannot make {}", folder.display())))?;
    let folder = folder
        .canonicalize()
        .map_err(while_doing(format!("cannot find {}", folder.display())))?;
    if !made_before {
        make_certificates(&folder)?;
        make_password_file(&folder)?;
        write(&folder.join("myacl.conf"), ACL)?;
        write(
            &folder.join("mosquitto-password.conf"),
            &configuration(&folder, PASSWORD_PORT, false),
        )?;
        // Last, since it says that the folder is complete.
        write(
            &folder.join("mosquitto.conf"),
            &configuration(&folder, PORT, true),
        )?;
    }
    Ok(folder)
}

fn make_certificates(folder: &Path) -> Result<(), Problem> {
    let problem = || while_doing("cannot make certificates");
    let authority = Authority::create("caMQTT", DAYS).map_err(problem())?;
    write(&folder.join("caMQTT.crt"), authority.certificate_pem())?;
    write_secret(&folder.join("caMQTT.key"), &authority.key_pem())?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let (certificate, key) = authority.issue_server(&names, DAYS).map_err(problem())?;
    write(&folder.join("broker.crt"), &certificate)?;
    write_secret(&folder.join("broker.key"), &key)?;
    for client in [PLC, SCADA] {
        let (certificate, key) = authority.issue_client(client, DAYS).map_err(problem())?;
        write(&folder.join(format!("{client}.crt")), &certificate)?;
        write_secret(&folder.join(format!("{client}.key")), &key)?;
    }
    Ok(())
}

fn make_password_file(folder: &Path) -> Result<(), Problem> {
    let path = folder.join("pwfile");
    for (user, password) in USERS {
        let mut salt = [0; 64];
        getrandom::fill(&mut salt).map_err(while_doing("no random bytes"))?;
        let hash = StoredHash::derive(Scheme::default(), password.as_bytes(), &salt)
            .map_err(while_doing("cannot hash a password"))?;
        let options = UpdateOptions::default().create(Create::IfMissing);
        komar_passwd::update(&path, &options, |editor| editor.set(user, &hash))
            .map_err(while_doing(format!("cannot write {}", path.display())))?;
    }
    Ok(())
}

/// The tutorial's configuration: with certificates as identities, or with certificates and passwords.
fn configuration(folder: &Path, port: u16, identity: bool) -> String {
    let folder = folder.display();
    let password_file = if identity { "#" } else { "" };
    format!(
        "listener {port}\n\
         certfile {folder}/broker.crt\n\
         keyfile {folder}/broker.key\n\
         require_certificate true\n\
         cafile {folder}/caMQTT.crt\n\
         use_identity_as_username {identity}\n\
         acl_file {folder}/myacl.conf\n\
         {password_file}password_file {folder}/pwfile\n"
    )
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(while_doing(format!("cannot write {}", path.display())))
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> Result<(), Problem> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let problem = || while_doing(format!("cannot write {}", path.display()));
    let mut file = options.open(path).map_err(problem())?;
    file.write_all(text.as_bytes()).map_err(problem())
}

/// Starts the broker on a configuration file; on another port if that one is taken.
fn start(path: &Path, options: &Options) -> Result<(Server, SocketAddr), Problem> {
    let mut config = komar_conf::load(path, &Disk)
        .map_err(while_doing(path.display()))?
        .config;
    for listener in &mut config.listeners {
        listener.address = Some(Ipv4Addr::LOCALHOST.to_string());
    }
    let wanted = config.listeners.first().map_or(0, |listener| listener.port);
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).is_err();
    if taken {
        println!("   Port {wanted} is taken; a free one is used instead.");
        config.listeners.iter_mut().for_each(|listener| listener.port = 0);
    }
    let server = start_on(&config, options)?;
    let address = *server
        .local_addresses()
        .first()
        .ok_or_else(|| Problem("no listener".to_owned()))?;
    Ok((server, address))
}

fn start_on(config: &Config, options: &Options) -> Result<Server, Problem> {
    let setup = setup::prepare(config).map_err(while_doing("the configuration cannot be used"))?;
    let placement = if options.reactors > 1 {
        Placement::Alternate
    } else {
        Placement::Pack
    };
    setup
        .builder
        .reactors(options.reactors)
        .placement(placement)
        .start()
        .map_err(while_doing("the broker does not start"))
}

fn show_certificates(folder: &Path, address: SocketAddr) -> Result<(), ClientError> {
    let who = |client_id| Introduction {
        client_id,
        username: None,
        password: None,
    };
    let mut scada = DemoClient::connect(address, &tls(folder, Some(SCADA))?, who("scada"))?;
    expect(
        "SUBACK with QoS 1",
        scada.subscribe("PLC1/out")?,
        ReasonCode::GrantedQoS1,
    )?;
    let mut plc = DemoClient::connect(address, &tls(folder, Some(PLC))?, who("plc"))?;
    expect(
        "SUBACK with QoS 1",
        plc.subscribe("PLC1/cmd")?,
        ReasonCode::GrantedQoS1,
    )?;

    expect(
        "PUBACK",
        plc.publish("PLC1/out", b"temperature 21.5")?,
        ReasonCode::Success,
    )?;
    let (topic, payload) = scada.message()?;
    expect(
        "the message",
        (topic.as_str(), payload.as_slice()),
        ("PLC1/out", &b"temperature 21.5"[..]),
    )?;
    println!(
        "   {PLC} publishes to PLC1/out: {SCADA} receives \"{}\".",
        String::from_utf8_lossy(&payload)
    );

    expect(
        "PUBACK",
        scada.publish("PLC1/cmd", b"start")?,
        ReasonCode::Success,
    )?;
    let (topic, payload) = plc.message()?;
    expect(
        "the message",
        (topic.as_str(), payload.as_slice()),
        ("PLC1/cmd", &b"start"[..]),
    )?;
    println!(
        "   {SCADA} publishes to PLC1/cmd: {PLC} receives \"{}\".",
        String::from_utf8_lossy(&payload)
    );

    expect(
        "a refusal",
        plc.publish("PLC1/cmd", b"stop")?,
        ReasonCode::NotAuthorized,
    )?;
    expect("no message", plc.messages_so_far()? + scada.messages_so_far()?, 0)?;
    println!("   {PLC} publishes to PLC1/cmd: refused (0x87 Not authorized), and nobody receives it.");

    match DemoClient::connect(address, &tls(folder, None)?, who("nobody")) {
        Err(ClientError::Io(error)) => println!("   A client without a certificate: refused ({error}).\n"),
        Err(other) => return Err(other),
        Ok(_) => {
            return Err(unexpected(
                "a refusal",
                "an accepted connection without a certificate",
            ));
        }
    }
    Ok(())
}

fn show_passwords(folder: &Path, address: SocketAddr) -> Result<(), ClientError> {
    println!("3. The same with 'use_identity_as_username false' and 'password_file pwfile', on {address}:");
    let tls = tls(folder, Some(PLC))?;
    let [(user, password), _] = USERS;
    let login = |password: &'static str| Introduction {
        client_id: "with-password",
        username: Some(user),
        password: Some(password.as_bytes()),
    };
    DemoClient::connect(address, &tls, login(password))?;
    println!("   {user} with its password: accepted.");
    match DemoClient::connect(address, &tls, login("a guess")) {
        Err(ClientError::Refused(ReasonCode::NotAuthorized)) => {
            println!("   {user} with another password: refused (0x87 Not authorized).\n");
            Ok(())
        }
        Err(other) => Err(other),
        Ok(_) => Err(unexpected(
            "a refusal",
            "an accepted connection with a wrong password",
        )),
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    got: T,
    expected: T,
) -> Result<(), ClientError> {
    if got == expected {
        Ok(())
    } else {
        Err(unexpected(what, &format!("{got:?}")))
    }
}

fn unexpected(expected: &'static str, got: &str) -> ClientError {
    ClientError::Unexpected {
        expected,
        got: got.to_owned(),
    }
}

/// A client's TLS: trusts the folder's authority, and shows a certificate of the folder or none.
fn tls(folder: &Path, client: Option<&str>) -> Result<Arc<ClientConfig>, ClientError> {
    let pem = |error: rustls::pki_types::pem::Error| std::io::Error::other(error.to_string());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("caMQTT.crt")).map_err(pem)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let certificate =
                CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).map_err(pem)?;
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).map_err(pem)?;
            builder.with_client_auth_cert(vec![certificate], key)?
        }
    };
    Ok(Arc::new(config))
}

fn print_commands(folder: &Path, address: SocketAddr) {
    let folder = folder.display();
    let common = |name: &str| {
        format!(
            "-h {} -p {} --cafile '{folder}/caMQTT.crt' --cert '{folder}/{name}.crt' --key '{folder}/{name}.key'",
            address.ip(),
            address.port()
        )
    };
    println!("4. Try it with Mosquitto's own clients, in two terminals:\n");
    println!("mosquitto_sub {} -t PLC1/out -v\n", common(SCADA));
    println!("mosquitto_pub {} -t PLC1/out -m hello\n", common(PLC));
    println!("Serving until Ctrl-C.");
}

const PLC: &str = "myPLC";
const SCADA: &str = "myD2000";
const USERS: [(&str, &str); 2] = [("myuser1", "mypassword1"), ("myuser2", "mypassword2")];
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
