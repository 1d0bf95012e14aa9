//! Writes the seeds of the targets `acl`, `passwd` and `identity` from the tables of the crates' tests.

use std::fs;
use std::path::{Path, PathBuf};

use komar_identity::tls;

fn main() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    acl(&crates.join("komar-acl/tests/data"));
    passwd(&crates.join("komar-passwd/tests/data"));
    identity(&crates.join("komar-identity/tests/data"));
}

fn acl(data: &Path) {
    for (number, row) in rows(&data.join("decisions.txt")).enumerate() {
        let [file, options, user, client_id, _, topic] = &row[..] else {
            panic!("{row:?}")
        };
        let choice = u8::from(options == "ext") | (u8::from(options == "2.0") << 1);
        let user = if user == "-" { "" } else { user };
        let head = [user, client_id, topic]
            .map(|part| [part.as_bytes(), &[0xFF]].concat())
            .concat();
        save(
            "acl",
            &format!("decision-{number:03}"),
            &[&[choice][..], &head, &unescape(file)].concat(),
        );
    }
    for (number, row) in rows(&data.join("errors.txt")).enumerate() {
        save(
            "acl",
            &format!("error-{number:02}"),
            &[b"\x01u\xFFc\xFFa\xFF", &unescape(&row[0])[..]].concat(),
        );
    }
}

fn passwd(data: &Path) {
    for (number, row) in rows(&data.join("hashes.txt")).enumerate() {
        let line = format!("alice:{}\n", row[0]);
        save(
            "passwd",
            &format!("hash-{number:02}"),
            &[b"alice\xFFsecret\xFF# a\n", line.as_bytes()].concat(),
        );
    }
    for (number, row) in rows(&data.join("files.txt")).enumerate() {
        save(
            "passwd",
            &format!("file-{number:02}"),
            &[b"bob\xFFsecret\xFF", &unescape(&row[0].replace('@', HASH))[..]].concat(),
        );
    }
}

fn identity(data: &Path) {
    for folder in ["certs", "v1"] {
        let mut files: Vec<PathBuf> = fs::read_dir(data.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let (bytes, name) = (
                fs::read(&file).unwrap(),
                file.file_stem().unwrap().to_str().unwrap(),
            );
            // One of 70,000 bytes would make every other one slow.
            if bytes.len() > 4000
                || file
                    .extension()
                    .is_none_or(|ending| ending == "key" || ending == "sh" || ending == "md")
            {
                continue;
            }
            if let Ok(found) = tls::certificates_from_pem(&bytes, name) {
                save(
                    "identity",
                    &format!("{folder}-{name}"),
                    &[&[0], &found[0][..]].concat(),
                );
            }
            if let Ok(found) = tls::revocation_lists_from_pem(&bytes, name) {
                save(
                    "identity",
                    &format!("{folder}-{name}"),
                    &[&[2], &found[0][..]].concat(),
                );
            }
        }
    }
    let files = ["ca.crt", "broker.key", "crl.pem"].map(|name| fs::read(data.join("v1").join(name)).unwrap());
    save("identity", "pem", &[&[1][..], &files.concat()].concat());
}

/// Of "secret".
const HASH: &str = "$6$c2FsdHNhbHRzYWx0$3aiBbchfIZo+1WYrkPzJjQxZ79F/NmwLQ+wF073kTd+6ANhaic8G/jWF/X4sqSFUKpLNdm1FZjBck6HQ8knM3A==";

fn rows(file: &Path) -> impl Iterator<Item = Vec<String>> {
    let text = fs::read_to_string(file).unwrap();
    let rows = text
        .lines()
        .filter(|line| !line.starts_with("##") && !line.starts_with("# ") && !line.is_empty());
    rows.map(|row| row.split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect::<Vec<_>>()
        .into_iter()
}

/// `\n`, `\t`, `\r`, `\0` and `\xHH` in a table's cell.
fn unescape(cell: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        bytes.push(match kind {
            "n" => b'\n',
            "t" => b'\t',
            "r" => b'\r',
            "0" => 0,
            "x" => {
                rest = &after[2..];
                u8::from_str_radix(&after[..2], 16).unwrap()
            }
            other => panic!("\\{other} in {cell}"),
        });
    }
    bytes.extend(rest.bytes());
    bytes
}

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}
