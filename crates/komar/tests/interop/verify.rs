//! `komar cert show --ca` beside `openssl verify`: the same clients pass.

use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, Issuer, KeyPair, NameConstraints,
};

use crate::broker::{Folder, command, is_komar};
use crate::program::Program;
use crate::table;
use crate::tools::Tool;

#[test]
fn clients_pass_that_pass_openssl() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    for row in table::rows(include_str!("data/verify.txt")) {
        write(&folder, row);
        let status = |passes: bool, refused: i32| if passes { 0 } else { refused };
        let passes = row[5] == "ok";
        let mut show = command();
        show.args(["cert", "show", "client.crt", "--ca", "ca.crt"]);
        Program::run(show.current_dir(folder.path()))
            .expect_status(status(passes, 2), format!("komar: {row:?}"));
        if Tool::Openssl.is_installed() {
            let mut verify = Command::new("openssl");
            verify.args([
                "verify",
                "-purpose",
                "sslclient",
                "-CAfile",
                "ca.crt",
                "client.crt",
            ]);
            let ended = Program::run(verify.current_dir(folder.path()));
            ended.expect_status(status(passes, 2), format!("openssl: {row:?}"));
        }
    }
}

/// An authority and a client of it.
fn write(folder: &Folder, [permitted, excluded, common_name, alternative, is_authority, _]: [&str; 6]) {
    let names = |list: &str| -> Vec<GeneralSubtree> {
        list.split_whitespace()
            .map(|name| GeneralSubtree::DnsName(name.to_owned()))
            .collect()
    };
    let mut authority = params("verify CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (permitted_subtrees, excluded_subtrees) = (names(permitted), names(excluded));
    if !permitted_subtrees.is_empty() || !excluded_subtrees.is_empty() {
        authority.name_constraints = Some(NameConstraints {
            permitted_subtrees,
            excluded_subtrees,
        });
    }
    let key = KeyPair::generate().unwrap();
    folder.write("ca.crt", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    let mut client = params(common_name);
    if !alternative.is_empty() {
        client.subject_alt_names = CertificateParams::new([alternative.to_owned()])
            .unwrap()
            .subject_alt_names;
    }
    if is_authority == "yes" {
        client.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    folder.write("client.crt", client.signed_by(&key, &issuer).unwrap().pem());
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
