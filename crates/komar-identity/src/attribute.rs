//! Short names of the attributes of a distinguished name.
//!
//! The spelling is the one that OpenSSL prints, since operators copy it into ACL files.

use x509_parser::asn1_rs::Oid;

pub(crate) const COMMON_NAME: &[u8] = &[0x55, 0x04, 3];

/// Short name of an attribute type (contents of its object identifier).
pub(crate) fn short_name(oid: &[u8]) -> Option<&'static str> {
    let (last, arc) = oid.split_last()?;
    let (_, names) = ARCS.iter().find(|(prefix, _)| *prefix == arc)?;
    names
        .iter()
        .find(|(number, _)| number == last)
        .map(|(_, name)| *name)
}

/// Short name, or the dotted number of an attribute that has none.
pub(crate) fn display_name(oid: &Oid<'_>) -> String {
    short_name(oid.as_bytes()).map_or_else(
        || dotted(oid.as_bytes()).unwrap_or_else(|| "(malformed)".to_owned()),
        str::to_owned,
    )
}

/// Dotted number; `None` for a malformed or absurdly large one.
pub(crate) fn dotted(oid: &[u8]) -> Option<String> {
    let mut text = String::new();
    numbers(oid, |number| append(&mut text, number)).then_some(text)
}

/// Whether [`dotted`] has an answer.
pub(crate) fn is_well_formed(oid: &[u8]) -> bool {
    // Of one byte each: those of nearly all names.
    let is_short = !oid.is_empty() && oid.iter().all(|byte| *byte < 0x80);
    is_short || numbers(oid, |_| ())
}

/// Hands out the encoded numbers; `false` if there is none, one is malformed or absurdly large.
fn numbers(oid: &[u8], mut each: impl FnMut(u128)) -> bool {
    let mut number: u128 = 0;
    let mut starts = true;
    for byte in oid {
        let next = number
            .checked_mul(128)
            .and_then(|number| number.checked_add(u128::from(byte & 0x7F)));
        match next {
            Some(next) if !starts || *byte != 0x80 => number = next,
            _ => return false,
        }
        starts = byte & 0x80 == 0;
        if starts {
            each(number);
            number = 0;
        }
    }
    starts && !oid.is_empty()
}

/// The first number of the encoding holds the first two of the text.
fn append(text: &mut String, number: u128) {
    use std::fmt::Write;
    // Writing to a String cannot fail.
    let _ = if text.is_empty() {
        let first = (number / 40).min(2);
        write!(
            text,
            "{first}.{}",
            number.saturating_sub(first.saturating_mul(40))
        )
    } else {
        write!(text, ".{number}")
    };
}

type Arc = (&'static [u8], &'static [(u8, &'static str)]);

const ARCS: &[Arc] = &[
    // 2.5.4: X.520
    (
        &[0x55, 0x04],
        &[
            (3, "CN"),
            (4, "SN"),
            (5, "serialNumber"),
            (6, "C"),
            (7, "L"),
            (8, "ST"),
            (9, "street"),
            (10, "O"),
            (11, "OU"),
            (12, "title"),
            (13, "description"),
            (14, "searchGuide"),
            (15, "businessCategory"),
            (16, "postalAddress"),
            (17, "postalCode"),
            (18, "postOfficeBox"),
            (19, "physicalDeliveryOfficeName"),
            (20, "telephoneNumber"),
            (21, "telexNumber"),
            (22, "teletexTerminalIdentifier"),
            (23, "facsimileTelephoneNumber"),
            (24, "x121Address"),
            (25, "internationaliSDNNumber"),
            (26, "registeredAddress"),
            (27, "destinationIndicator"),
            (28, "preferredDeliveryMethod"),
            (29, "presentationAddress"),
            (30, "supportedApplicationContext"),
            (31, "member"),
            (32, "owner"),
            (33, "roleOccupant"),
            (34, "seeAlso"),
            (35, "userPassword"),
            (36, "userCertificate"),
            (37, "cACertificate"),
            (38, "authorityRevocationList"),
            (39, "certificateRevocationList"),
            (40, "crossCertificatePair"),
            (41, "name"),
            (42, "GN"),
            (43, "initials"),
            (44, "generationQualifier"),
            (45, "x500UniqueIdentifier"),
            (46, "dnQualifier"),
            (47, "enhancedSearchGuide"),
            (48, "protocolInformation"),
            (49, "distinguishedName"),
            (50, "uniqueMember"),
            (51, "houseIdentifier"),
            (52, "supportedAlgorithms"),
            (53, "deltaRevocationList"),
            (54, "dmdName"),
            (65, "pseudonym"),
            (72, "role"),
            (97, "organizationIdentifier"),
            (98, "c3"),
            (99, "n3"),
            (100, "dnsName"),
        ],
    ),
    // 0.9.2342.19200300.100.1: directory pilot, RFC 4524
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01],
        &[
            (1, "UID"),
            (2, "textEncodedORAddress"),
            (3, "mail"),
            (4, "info"),
            (5, "favouriteDrink"),
            (6, "roomNumber"),
            (7, "photo"),
            (8, "userClass"),
            (9, "host"),
            (10, "manager"),
            (11, "documentIdentifier"),
            (12, "documentTitle"),
            (13, "documentVersion"),
            (14, "documentAuthor"),
            (15, "documentLocation"),
            (20, "homeTelephoneNumber"),
            (21, "secretary"),
            (22, "otherMailbox"),
            (23, "lastModifiedTime"),
            (24, "lastModifiedBy"),
            (25, "DC"),
            (26, "aRecord"),
            (27, "pilotAttributeType27"),
            (28, "mXRecord"),
            (29, "nSRecord"),
            (30, "sOARecord"),
            (31, "cNAMERecord"),
            (37, "associatedDomain"),
            (38, "associatedName"),
            (39, "homePostalAddress"),
            (40, "personalTitle"),
            (41, "mobileTelephoneNumber"),
            (42, "pagerTelephoneNumber"),
            (43, "friendlyCountryName"),
            (44, "uid"),
            (45, "organizationalStatus"),
            (46, "janetMailbox"),
            (47, "mailPreferenceOption"),
            (48, "buildingName"),
            (49, "dSAQuality"),
            (50, "singleLevelQuality"),
            (51, "subtreeMinimumQuality"),
            (52, "subtreeMaximumQuality"),
            (53, "personalSignature"),
            (54, "dITRedirect"),
            (55, "audio"),
            (56, "documentPublisher"),
        ],
    ),
    // 1.2.840.113549.1.9: PKCS #9
    (
        &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09],
        &[
            (1, "emailAddress"),
            (2, "unstructuredName"),
            (3, "contentType"),
            (4, "messageDigest"),
            (5, "signingTime"),
            (6, "countersignature"),
            (7, "challengePassword"),
            (8, "unstructuredAddress"),
            (9, "extendedCertificateAttributes"),
            (14, "extReq"),
            (15, "SMIME-CAPS"),
            (16, "SMIME"),
            (20, "friendlyName"),
            (21, "localKeyID"),
        ],
    ),
    // 1.3.6.1.4.1.311.60.2.1: jurisdiction of incorporation
    (
        &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3C, 0x02, 0x01],
        &[(1, "jurisdictionL"), (2, "jurisdictionST"), (3, "jurisdictionC")],
    ),
    // 1.3.6.1.4.1.311.20.2: Microsoft enrolment
    (
        &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02],
        &[(2, "msSmartcardLogin"), (3, "msUPN")],
    ),
    // 1.2.643.3.131.1 and 1.2.643.100: Russian tax and registry numbers
    (&[0x2A, 0x85, 0x03, 0x03, 0x81, 0x03, 0x01], &[(1, "INN")]),
    (
        &[0x2A, 0x85, 0x03, 0x64],
        &[(1, "OGRN"), (3, "SNILS"), (5, "OGRNIP")],
    ),
    // 1.3.6.1.5.5.7.9: personal data, RFC 3739
    (
        &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x09],
        &[
            (1, "id-pda-dateOfBirth"),
            (2, "id-pda-placeOfBirth"),
            (3, "id-pda-gender"),
            (4, "id-pda-countryOfCitizenship"),
            (5, "id-pda-countryOfResidence"),
        ],
    ),
];
