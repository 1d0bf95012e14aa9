//! Shared by the integration tests: the files in `tests/data`, and a small DER writer.

#![allow(dead_code)]

use std::path::Path;

pub(crate) fn data(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first certificate of a PEM file, in DER.
pub(crate) fn certificate(file: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(&data(file)).unwrap().1.contents
}

pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        _ => {
            let length = contents.len().to_be_bytes();
            let significant = &length[length.iter().position(|byte| *byte != 0).unwrap()..];
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(contents);
    out
}

/// One set of attributes: contents of the object identifier, tag, value.
pub(crate) fn set(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let parts = attributes
        .iter()
        .map(|(oid, tag, value)| tlv(0x30, &[tlv(6, oid), tlv(*tag, value)].concat()));
    tlv(0x31, &parts.collect::<Vec<_>>().concat())
}

/// A certificate with this subject (sets), the extensions given in DER, and a signature that is none.
pub(crate) fn unsigned(subject: &[Vec<u8>], extensions: &[Vec<u8>]) -> Vec<u8> {
    let algorithm = tlv(0x30, &tlv(6, &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2]));
    let key = tlv(
        0x30,
        &[tlv(0x30, &tlv(6, &[0x2B, 0x65, 0x70])), tlv(3, &[0; 33])].concat(),
    );
    let validity = tlv(
        0x30,
        &[tlv(0x17, b"250101000000Z"), tlv(0x17, b"450101000000Z")].concat(),
    );
    let extensions = match extensions {
        [] => Vec::new(),
        extensions => tlv(0xA3, &tlv(0x30, &extensions.concat())),
    };
    let tbs = [
        tlv(0xA0, &tlv(2, &[2])),
        tlv(2, &[4, 1]),
        algorithm.clone(),
        tlv(0x30, &set(&[(&[0x55, 4, 3], 12, b"Issuer")])),
        validity,
        tlv(0x30, &subject.concat()),
        key,
        extensions,
    ];
    tlv(
        0x30,
        &[tlv(0x30, &tbs.concat()), algorithm, tlv(3, &[0, 1])].concat(),
    )
}

/// subjectAltName with these general names in DER.
pub(crate) fn alternative_names(names: &[Vec<u8>]) -> Vec<u8> {
    tlv(
        0x30,
        &[tlv(6, &[0x55, 0x1D, 17]), tlv(4, &tlv(0x30, &names.concat()))].concat(),
    )
}
