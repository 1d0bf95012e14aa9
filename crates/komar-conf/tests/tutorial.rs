//! The configuration of the classic tutorial, on Unix and on Windows, and what holds without any.

use std::path::{Path, PathBuf};

use komar_conf::{
    Config, ConfigErrors, Disk, ErrorKind, Listener, Memory, Tls, TlsVersion, default_config, load, parse_str,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn listener(name: &str) -> Listener {
    let loaded = load(&data(name), &Disk).unwrap();
    assert_eq!(loaded.warnings, []);
    assert!(!loaded.config.local_only);
    let [listener] = loaded.config.listeners.try_into().expect("one listener");
    listener
}

#[test]
fn identity() {
    let unix = listener("tutorial.conf");
    let position = unix.position.clone().unwrap();
    assert_eq!(
        (
            position.line,
            position.column,
            position.file.file_name().unwrap().to_str()
        ),
        (2, 1, Some("tutorial.conf"))
    );
    let windows = listener("tutorial-windows.conf");

    let folders = [
        (unix, "/etc/mosquitto/certs/", ""),
        (
            windows,
            "c:\\Program Files (x86)\\mosquitto\\",
            "c:\\Program Files (x86)\\mosquitto\\",
        ),
    ];
    for (listener, certs, rest) in folders {
        assert_eq!(
            (listener.port, &listener.address, &listener.unix_path),
            (8883, &None, &None)
        );
        let mut tls = Tls::new(format!("{certs}broker.crt"), format!("{certs}broker.key"));
        tls.cafile = Some(PathBuf::from(format!("{certs}caMQTT.crt")));
        tls.require_certificate = true;
        assert_eq!(tls.minimum_version, TlsVersion::Tls12);
        assert_eq!(listener.tls, Some(tls));
        assert!(listener.use_identity_as_username);
        assert_eq!(
            listener.security.acl_file,
            Some(PathBuf::from(format!("{rest}myacl.conf")))
        );
        assert_eq!(listener.security.password_file, None);
        assert!(!listener.security.allow_anonymous);
    }
}

#[test]
fn password() {
    let listener = listener("tutorial-password.conf");
    assert!(!listener.use_identity_as_username);
    assert!(listener.tls.is_some_and(|tls| tls.require_certificate));
    assert_eq!(listener.security.password_file, Some(PathBuf::from("pwfile")));
    assert!(!listener.security.allow_anonymous);
}

#[test]
fn nothing_given() {
    let config = default_config();
    assert_eq!(config, parse_str("", "m.conf").unwrap().config);
    assert!(config.local_only && config.security.allow_anonymous);
    let mut other = config.clone();
    other.set_local_ports(&[]);
    assert_eq!(other, config);
    other.set_local_ports(&[1884, 1885]);
    let places = |config: &Config| -> Vec<String> {
        config
            .listeners
            .iter()
            .map(|listener| format!("{} {:?}", listener.port, listener.address))
            .collect()
    };
    assert_eq!(
        places(&config),
        ["1883 Some(\"127.0.0.1\")", "1883 Some(\"::1\")"]
    );
    assert_eq!(
        places(&other)[2..],
        ["1885 Some(\"127.0.0.1\")", "1885 Some(\"::1\")"]
    );
    assert!(
        other
            .listeners
            .iter()
            .all(|listener| listener.security.allow_anonymous)
    );

    let mut defined = parse_str("listener 8883", "m.conf").unwrap().config;
    let before = defined.clone();
    defined.set_local_ports(&[1]);
    assert_eq!(defined, before);
}

#[test]
fn the_main_file_cannot_be_read() {
    for (path, source_is_disk) in [
        (data("no such file"), true),
        (data(""), true),
        (PathBuf::from("x"), false),
    ] {
        let memory = Memory::default();
        let errors = if source_is_disk {
            load(&path, &Disk)
        } else {
            load(&path, &memory)
        }
        .unwrap_err();
        assert!(
            matches!(&errors.errors[..], [error] if matches!(error.kind, ErrorKind::Unreadable { .. }) && error.position.is_none())
        );
        assert_eq!(errors.exit_status(), 3);
        assert!(errors.to_string().starts_with("Error: cannot read '"), "{errors}");
    }
}

#[test]
fn a_folder_on_disk_is_included() {
    let folder = std::env::temp_dir().join(format!("komar-conf-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    std::fs::write(
        folder.join("main.conf"),
        format!("include_dir {}/conf.d\n", folder.display()),
    )
    .unwrap();
    std::fs::write(folder.join("conf.d/b.conf"), "max_connections x\n").unwrap();
    std::fs::write(folder.join("conf.d/a.conf"), "listener 1884\n").unwrap();
    std::fs::write(folder.join("conf.d/a.txt"), "nonsense\n").unwrap();
    let errors = load(&folder.join("main.conf"), &Disk).unwrap_err();
    std::fs::write(folder.join("conf.d/b.conf"), "allow_anonymous true\n").unwrap();
    let loaded = load(&folder.join("main.conf"), &Disk);
    std::fs::remove_dir_all(&folder).unwrap();
    let place = format!("Error found at {}/conf.d/b.conf:1.", folder.display());
    assert!(errors.to_string().contains(&place), "{errors}");
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.listeners.len(), 1);
    assert!(loaded.config.listeners[0].security.allow_anonymous);
}

#[test]
fn many_errors_end_the_reading() {
    let errors = parse_str(&"nonsense\n".repeat(5000), "m.conf").unwrap_err();
    assert_eq!(errors.errors.len(), ConfigErrors::MAXIMUM + 1);
    assert!(matches!(errors.errors.last().unwrap().kind, ErrorKind::TooMany));
    let loaded = parse_str(&"listener 1883 #\n".repeat(5000), "m.conf").unwrap();
    assert_eq!(loaded.warnings.len(), ConfigErrors::MAXIMUM);
    assert_eq!(loaded.config.listeners.len(), 5000);
}

#[test]
fn exit_status_of_an_unknown_tls_version() {
    let head = "listener 8883\ncertfile a\nkeyfile b\ntls_version invalid\n";
    assert_eq!(parse_str(head, "m.conf").unwrap_err().exit_status(), 1);
    assert_eq!(
        parse_str(&format!("{head}nonsense\n"), "m.conf")
            .unwrap_err()
            .exit_status(),
        3
    );
}
