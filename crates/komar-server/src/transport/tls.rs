//! TLS of one connection: ciphertext in, plaintext and records to send out; no socket, no clock.
//!
//! Every call into rustls is in this file. It uses the unbuffered interface of rustls 0.23, which owns no
//! input and no output buffer, so that an idle connection costs its keys and little more.
//!
//! What a caller has to know:
//! - whatever [`Tls::feed`], [`Tls::encrypt`] and [`Tls::close`] append to `outgoing` is sent, also when they
//!   fail: it is the alert that tells the client why;
//! - TLS 1.2 with AES-GCM ends after 2^24 records that we sent ([`TlsError::KeysExhausted`]); TLS 1.3 changes
//!   its keys instead and goes on;
//! - there is no early data (0-RTT): a replayed CONNECT or PUBLISH would be indistinguishable from a new one.

mod offer;

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, WriteTraffic,
};
use rustls::{
    AlertDescription, CertificateError, CipherSuite, PeerIncompatible, ProtocolVersion, ServerConfig,
};

use self::offer::{Offer, version_name};

/// Server side of one TLS connection.
pub(crate) struct Tls {
    connection: UnbufferedServerConnection,
    /// Input that rustls wants to see again: the start of a handshake message that goes on in the next
    /// record, then an incomplete record. Without capacity while there is neither.
    kept: Vec<u8>,
    /// Length of the whole records at the front of `kept`. rustls has decrypted and moved them in place, so
    /// their headers cannot be read a second time.
    settled: usize,
    phase: Phase,
    /// A record has been handed out. Until then the peer has no keys, and an alert can be in plain text.
    answered: bool,
}

/// What a connection is ready for, after [`Tls::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsState {
    /// More bytes of the client are needed; nothing can be encrypted yet.
    Handshaking,
    /// Data flows in both directions.
    Open,
    /// The client sent its close_notify, or [`Tls::close`] was called: no plaintext will come any more.
    PeerClosed,
}

/// Why a TLS connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// The first byte is that of an MQTT CONNECT.
    #[error("plain text MQTT client on a TLS listener")]
    PlainMqtt,
    /// The first byte is not that of a TLS handshake record.
    #[error("client does not speak TLS: first byte {first:#04x}")]
    NotTls {
        /// The byte that came instead of 0x16.
        first: u8,
    },
    /// A ClientHello of TLS 1.1 or an older version.
    #[error("client speaks TLS 1.1 or older; 1.2 is the oldest version that is served{}", Offered(Missing::Version, .offer))]
    TooOld {
        /// What it offers, where its ClientHello could be read.
        offer: Option<Offer>,
    },
    /// Nothing fits of what the client offers.
    #[error("{}{}", missing_in_common(.reason), Offered(Missing::of(.reason), .offer))]
    Incompatible {
        /// What rustls misses.
        reason: PeerIncompatible,
        /// What it offers, where its ClientHello could be read.
        offer: Option<Offer>,
    },
    /// A client certificate is demanded and none was sent.
    #[error("client sent no certificate")]
    CertificateMissing,
    /// The client certificate was refused.
    #[error("client certificate refused: {}", komar_identity::tls::refusal_reason(.reason))]
    CertificateRefused {
        /// What the verifier says.
        reason: CertificateError,
    },
    /// The client gave up with a fatal alert; `UnknownCA` means that it does not trust our certificate.
    #[error("client sent alert {}", alert_name(*.description))]
    AlertReceived {
        /// The alert (RFC 8446 §6).
        description: AlertDescription,
    },
    /// A handshake message, or the records that carry it, is longer than we keep.
    #[error("handshake message needs more than {limit} bytes")]
    HandshakeTooLarge {
        /// The limit, in bytes as received.
        limit: usize,
    },
    /// The keys of a TLS 1.2 connection have encrypted as many records as is safe.
    #[error("traffic keys exhausted")]
    KeysExhausted,
    /// The configuration allows early data, see the module's documentation.
    #[error("TLS early data is not supported")]
    EarlyData,
    /// There is nothing to encrypt with before the handshake is over.
    #[error("TLS handshake not complete")]
    NotOpen,
    /// The connection failed or was closed before.
    #[error("TLS connection has ended")]
    Ended,
    /// Anything else: wrong bytes, wrong moment.
    #[error(transparent)]
    Protocol(rustls::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not a byte has come.
    New,
    Handshaking,
    Open,
    /// The client has sent its close_notify and we have not.
    PeerClosed,
    /// We have sent close_notify.
    Closed,
    Failed,
}

impl Tls {
    /// A connection that waits for its ClientHello.
    ///
    /// # Errors
    /// [`TlsError::EarlyData`], or what rustls finds wrong with the configuration.
    pub(crate) fn accept(config: &Arc<ServerConfig>) -> Result<Tls, TlsError> {
        if config.max_early_data_size != 0 {
            return Err(TlsError::EarlyData);
        }
        Ok(Tls {
            connection: UnbufferedServerConnection::new(Arc::clone(config))?,
            kept: Vec::new(),
            settled: 0,
            phase: Phase::New,
            answered: false,
        })
    }

    /// Takes what was read from the socket, of any length and cut anywhere.
    ///
    /// Decrypts in place (the content of `ciphertext` is void afterwards), appends application data to
    /// `plaintext` and what must be sent (handshake records, alerts) to `outgoing`. The answer to a key
    /// update goes out with the next [`Tls::encrypt`]. After [`TlsState::PeerClosed`] input is ignored.
    ///
    /// # Errors
    /// The connection is over: send `outgoing`, which ends with the alert, and close the socket. What was
    /// appended to `plaintext` by the same call is authentic. [`TlsError::Ended`] for every later call. A
    /// client that breaks the rules for records after the handshake (too many empty ones, for example) gets
    /// no alert, as rustls has none.
    pub(crate) fn feed(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<TlsState, TlsError> {
        let Some(&first) = ciphertext.first() else {
            return self.state();
        };
        let fresh = match self.phase {
            Phase::New => true,
            Phase::Handshaking | Phase::Open => false,
            Phase::PeerClosed | Phase::Closed | Phase::Failed => return self.state(),
        };
        let is_old = fresh && is_hello_before_tls12(ciphertext);
        match self.read(ciphertext, plaintext, outgoing) {
            Ok(phase) => {
                self.phase = phase;
                if phase == Phase::PeerClosed {
                    self.forget_kept();
                }
                self.state()
            }
            Err(error) => {
                let offered = || {
                    Offer::read(if self.kept.is_empty() {
                        ciphertext
                    } else {
                        &self.kept
                    })
                };
                let error = match error {
                    TlsError::Protocol(_) | TlsError::Incompatible { .. } if is_old => {
                        TlsError::TooOld { offer: offered() }
                    }
                    TlsError::Incompatible { reason, .. } => TlsError::Incompatible {
                        reason,
                        offer: offered(),
                    },
                    error => error,
                };
                self.fail(&error, outgoing);
                Err(match first {
                    MQTT_CONNECT if fresh => TlsError::PlainMqtt,
                    first if fresh && first != HANDSHAKE_RECORD => TlsError::NotTls { first },
                    _ => error,
                })
            }
        }
    }

    /// Appends `plaintext` to `outgoing` as records of up to 16 KiB (or of the configured
    /// `max_fragment_size`).
    ///
    /// # Errors
    /// [`TlsError::NotOpen`] during the handshake, [`TlsError::Ended`] after [`Tls::close`] or a failure
    /// (nothing is appended by either), [`TlsError::KeysExhausted`]: send `outgoing`, close the socket.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8], outgoing: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.phase {
            Phase::New | Phase::Handshaking => return Err(TlsError::NotOpen),
            Phase::Closed | Phase::Failed => return Err(TlsError::Ended),
            Phase::Open | Phase::PeerClosed => {}
        }
        if plaintext.is_empty() {
            return Ok(());
        }
        let records = plaintext.len().div_ceil(RECORD_PLAINTEXT_MAX);
        let room = plaintext
            .len()
            .saturating_add(records.saturating_mul(RECORD_OVERHEAD));
        let written = self.write(outgoing, room, |traffic, space| traffic.encrypt(plaintext, space));
        if let Err(error) = &written {
            self.fail(error, outgoing);
        }
        written
    }

    /// Appends a close_notify to `outgoing`, once, if the handshake is over and nothing has failed.
    ///
    /// After it nothing can be encrypted, and input is ignored.
    pub(crate) fn close(&mut self, outgoing: &mut Vec<u8>) {
        match self.phase {
            Phase::Open | Phase::PeerClosed => {
                let written = self.write(outgoing, RECORD_OVERHEAD, |traffic, space| {
                    traffic.queue_close_notify(space)
                });
                self.phase = Phase::Closed;
                if let Err(error) = written {
                    self.fail(&error, outgoing);
                }
            }
            Phase::New | Phase::Handshaking => self.phase = Phase::Closed,
            Phase::Closed | Phase::Failed => {}
        }
        self.forget_kept();
    }

    /// Whether the handshake still goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Handshaking)
    }

    /// Memory that an unfinished handshake message takes.
    pub(crate) fn handshake_bytes(&self) -> usize {
        if self.is_handshaking() {
            self.kept.capacity()
        } else {
            0
        }
    }

    /// The client's own certificate (DER), verified; `None` before the end of the handshake or if none was
    /// asked for.
    ///
    /// A resumed connection has the certificate of the first one, which is not verified again.
    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        if self.connection.is_handshaking() {
            return None;
        }
        self.connection.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// The client's certificate and those that it sent with it, verified; as [`peer_certificate`](Self::peer_certificate).
    pub(crate) fn peer_certificates(&self) -> &[rustls::pki_types::CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// Negotiated version in OpenSSL's spelling, such as `TLSv1.3`; `None` until it is agreed.
    pub(crate) fn version(&self) -> Option<&'static str> {
        version_name(self.connection.protocol_version()?.into())
    }

    /// Negotiated cipher suite in OpenSSL's spelling, such as `TLS_AES_256_GCM_SHA384` or
    /// `ECDHE-RSA-AES256-GCM-SHA384`; `None` until it is agreed.
    pub(crate) fn cipher(&self) -> Option<&'static str> {
        Some(cipher_name(self.connection.negotiated_cipher_suite()?.suite()))
    }

    /// Completes and reads what is kept, record by record, then the rest of `ciphertext` where it lies.
    fn read(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Phase, TlsError> {
        // Whoever has sent a ClientHello waits for the answer, so that all there is belongs to it.
        if !self.answered && self.kept.len().saturating_add(ciphertext.len()) > HELLO_MAX {
            return Err(TlsError::HandshakeTooLarge { limit: HELLO_MAX });
        }
        let mut rest = ciphertext;
        while !self.kept.is_empty() && !rest.is_empty() {
            let incomplete = self.kept.get(self.settled..).unwrap_or_default();
            let wanted = missing(incomplete).min(rest.len());
            let (head, tail) = rest.split_at_mut(wanted);
            self.kept.extend_from_slice(head);
            rest = tail;
            if self.read_kept(plaintext, outgoing)? {
                return Ok(Phase::PeerClosed);
            }
        }
        if !rest.is_empty() {
            let whole = whole_records(rest);
            let read = advance(
                &mut self.connection,
                rest,
                plaintext,
                outgoing,
                &mut self.answered,
            )?;
            if read.closed {
                return Ok(Phase::PeerClosed);
            }
            if let Some(remaining @ [_, ..]) = rest.get(read.used..) {
                self.kept = remaining.to_vec();
                self.settled = whole.saturating_sub(read.used);
                self.check_kept()?;
            }
        }
        Ok(if self.connection.is_handshaking() {
            Phase::Handshaking
        } else {
            Phase::Open
        })
    }

    /// Whether the client has closed.
    fn read_kept(&mut self, plaintext: &mut Vec<u8>, outgoing: &mut Vec<u8>) -> Result<bool, TlsError> {
        let incomplete = self.kept.get(self.settled..).unwrap_or_default();
        let whole = self.settled.saturating_add(whole_records(incomplete));
        let read = advance(
            &mut self.connection,
            &mut self.kept,
            plaintext,
            outgoing,
            &mut self.answered,
        )?;
        if read.used >= self.kept.len() {
            self.forget_kept();
        } else {
            self.kept.drain(..read.used);
            self.settled = whole.saturating_sub(read.used);
            self.check_kept()?;
        }
        Ok(read.closed)
    }

    /// Bounds `kept`; the incomplete record at its end is bounded by rustls, which refuses a longer one by
    /// its header.
    fn check_kept(&self) -> Result<(), TlsError> {
        let limit = if self.connection.is_handshaking() {
            HANDSHAKE_KEPT_MAX
        } else {
            RECORD_CIPHERTEXT_MAX
        };
        if self.settled > limit {
            Err(TlsError::HandshakeTooLarge { limit })
        } else {
            Ok(())
        }
    }

    fn write(
        &mut self,
        outgoing: &mut Vec<u8>,
        room: usize,
        mut encode: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            // `kept`, not an empty slice: rustls remembers offsets into a handshake message that is not
            // complete. `feed` has read all that is whole, so there is nothing to discard.
            match self.connection.process_tls_records(&mut self.kept).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return append(outgoing, room, |space| Ok(encode(&mut traffic, space)?));
                }
                ConnectionState::EncodeTlsData(record) => append_record(outgoing, record)?,
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                _ => return Err(TlsError::NotOpen),
            }
        }
    }

    /// Ends the connection: appends the alert that rustls has prepared, or a plain one if it has none and can
    /// do without keys.
    fn fail(&mut self, error: &TlsError, outgoing: &mut Vec<u8>) {
        self.phase = Phase::Failed;
        self.forget_kept();
        // Only while something waits to be sent: rustls looks at that first, and must not look at input
        // again.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(record)) => {
                    self.answered = true;
                    if append_record(outgoing, record).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
                _ => return,
            }
        }
        if matches!(error, TlsError::CertificateMissing)
            && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_2)
            && let Some(description) = outgoing.last_mut()
        {
            // RFC 5246 §7.4.6; rustls answers with certificate_required, which only TLS 1.3 has. Nothing is
            // encrypted before the client's Certificate is accepted, so the record's last byte is the alert.
            *description = u8::from(AlertDescription::HandshakeFailure);
        }
        if matches!(error, TlsError::TooOld { .. })
            && let Some(description) = outgoing.last_mut()
        {
            // What rustls misses first may be something else that old versions do not have. Nothing is encrypted yet.
            *description = u8::from(AlertDescription::ProtocolVersion);
        }
        if let Some(description) = own_alert(error)
            && !self.answered
        {
            self.answered = true;
            outgoing.extend_from_slice(&[ALERT_RECORD, 3, 3, 0, 2, ALERT_FATAL, u8::from(description)]);
        }
    }

    fn forget_kept(&mut self) {
        self.kept = Vec::new();
        self.settled = 0;
    }

    fn state(&self) -> Result<TlsState, TlsError> {
        match self.phase {
            Phase::New | Phase::Handshaking => Ok(TlsState::Handshaking),
            Phase::Open => Ok(TlsState::Open),
            Phase::PeerClosed | Phase::Closed => Ok(TlsState::PeerClosed),
            Phase::Failed => Err(TlsError::Ended),
        }
    }
}

/// Whether the first bytes of a connection are those of a TLS handshake: for the hint in the log of a plain
/// listener.
///
/// No MQTT client begins so: as a CONNECT the first byte would have reserved bits set.
pub(crate) fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE_RECORD, 3, ..])
}

/// Whether these bytes begin with a ClientHello whose highest version is below TLS 1.2 (RFC 5246 §7.4.1.2).
fn is_hello_before_tls12(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE_RECORD, 3, _, _, _, CLIENT_HELLO, _, _, _, 3, minor, ..] if *minor < 3)
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::NoCertificatesPresented => TlsError::CertificateMissing,
            rustls::Error::InvalidCertificate(reason) => TlsError::CertificateRefused { reason },
            rustls::Error::AlertReceived(description) => TlsError::AlertReceived { description },
            rustls::Error::PeerIncompatible(reason) => TlsError::Incompatible { reason, offer: None },
            other => TlsError::Protocol(other),
        }
    }
}

/// What one pass over the input did.
struct Read {
    /// Bytes at the front that are done with.
    used: usize,
    /// The client's close_notify was among them.
    closed: bool,
}

/// Lets rustls read `buffer` until it needs more.
fn advance(
    connection: &mut UnbufferedServerConnection,
    buffer: &mut [u8],
    plaintext: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
    answered: &mut bool,
) -> Result<Read, TlsError> {
    let mut used: usize = 0;
    loop {
        let status = connection.process_tls_records(buffer.get_mut(used..).unwrap_or_default());
        let mut discard = status.discard;
        let end = match status.state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plaintext.extend_from_slice(record.payload);
                    discard = discard.saturating_add(record.discard);
                }
                None
            }
            ConnectionState::EncodeTlsData(record) => {
                *answered = true;
                append_record(outgoing, record)?;
                None
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                None
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => Some(true),
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Some(false),
            // `accept` has made sure that there is none.
            ConnectionState::ReadEarlyData(_) => return Err(TlsError::EarlyData),
            _ => {
                return Err(TlsError::Protocol(rustls::Error::General(
                    "unknown connection state".into(),
                )));
            }
        };
        used = used.saturating_add(discard);
        if let Some(closed) = end {
            return Ok(Read { used, closed });
        }
    }
}

/// Why a record was not written.
enum Unwritten {
    /// It takes this much space, in bytes.
    NeedsSpace(usize),
    Failed(TlsError),
}

impl From<InsufficientSizeError> for Unwritten {
    fn from(error: InsufficientSizeError) -> Unwritten {
        Unwritten::NeedsSpace(error.required_size)
    }
}

impl From<EncodeError> for Unwritten {
    fn from(error: EncodeError) -> Unwritten {
        match error {
            EncodeError::InsufficientSize(size) => size.into(),
            EncodeError::AlreadyEncoded => Unwritten::Failed(TlsError::Ended),
        }
    }
}

impl From<EncryptError> for Unwritten {
    fn from(error: EncryptError) -> Unwritten {
        match error {
            EncryptError::InsufficientSize(size) => size.into(),
            EncryptError::EncryptExhausted => Unwritten::Failed(TlsError::KeysExhausted),
        }
    }
}

fn append_record<Data>(outgoing: &mut Vec<u8>, mut record: EncodeTlsData<'_, Data>) -> Result<(), TlsError> {
    append(outgoing, 0, |space| Ok(record.encode(space)?))
}

/// Appends what `encode` writes, with space for `room` bytes at first and for what it asks for then.
fn append(
    outgoing: &mut Vec<u8>,
    room: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Unwritten>,
) -> Result<(), TlsError> {
    let start = outgoing.len();
    let mut room = room;
    loop {
        outgoing.resize(start.saturating_add(room), 0);
        let (length, result) = match encode(outgoing.get_mut(start..).unwrap_or_default()) {
            Err(Unwritten::NeedsSpace(required)) if required > room => {
                room = required;
                continue;
            }
            Ok(length) => (length, Ok(())),
            Err(Unwritten::NeedsSpace(_)) => (0, Err(TlsError::Ended)),
            Err(Unwritten::Failed(error)) => (0, Err(error)),
        };
        outgoing.truncate(start.saturating_add(length));
        return result;
    }
}

/// Length of the record at the front of `bytes` with its header, once the header is there.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else {
        return None;
    };
    Some(usize::from(u16::from_be_bytes([*high, *low])).saturating_add(RECORD_HEADER))
}

/// Bytes to read until the record that begins in `incomplete`, or its header, is whole.
fn missing(incomplete: &[u8]) -> usize {
    record_length(incomplete)
        .unwrap_or(RECORD_HEADER)
        .saturating_sub(incomplete.len())
        .max(1)
}

/// Length of the whole records at the front of `bytes`.
fn whole_records(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, tail)) = record_length(rest).and_then(|length| rest.split_at_checked(length)) {
        rest = tail;
    }
    bytes.len().saturating_sub(rest.len())
}

/// The alert for an error to which rustls gives none; `None` if there is nobody to tell.
fn own_alert(error: &TlsError) -> Option<AlertDescription> {
    match error {
        TlsError::AlertReceived { .. } => None,
        TlsError::TooOld { .. } => Some(AlertDescription::ProtocolVersion),
        TlsError::HandshakeTooLarge { .. } | TlsError::Protocol(rustls::Error::InvalidMessage(_)) => {
            Some(AlertDescription::DecodeError)
        }
        TlsError::Protocol(rustls::Error::PeerMisbehaved(_)) => Some(AlertDescription::UnexpectedMessage),
        TlsError::CertificateMissing | TlsError::CertificateRefused { .. } => {
            Some(AlertDescription::HandshakeFailure)
        }
        _ => Some(AlertDescription::InternalError),
    }
}

/// What client and listener do not have in common.
enum Missing {
    Version,
    CipherSuite,
    Group,
    SignatureScheme,
    /// Something else, which no list of the client's shows.
    Other,
}

impl Missing {
    fn of(reason: &PeerIncompatible) -> Missing {
        match reason {
            PeerIncompatible::NoCipherSuitesInCommon => Missing::CipherSuite,
            PeerIncompatible::NoKxGroupsInCommon => Missing::Group,
            PeerIncompatible::NoSignatureSchemesInCommon => Missing::SignatureScheme,
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired => Missing::Version,
            _ => Missing::Other,
        }
    }
}

/// The same in words.
fn missing_in_common(reason: &PeerIncompatible) -> String {
    let what = match Missing::of(reason) {
        Missing::Version => "TLS version",
        Missing::CipherSuite => "cipher suite",
        Missing::Group => "group for the key exchange",
        Missing::SignatureScheme => "signature scheme",
        Missing::Other if *reason == PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            return "client does not say which signature schemes it takes (signature_algorithms)".into();
        }
        Missing::Other => return format!("client is incompatible: {reason:?}"),
    };
    format!("client and listener have no {what} in common")
}

/// The end of a message: of what is missing, what the client has instead.
struct Offered<'a>(Missing, &'a Option<Offer>);

impl std::fmt::Display for Offered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Offered(missing, Some(offer)) = self else {
            return Ok(());
        };
        match missing {
            Missing::Version | Missing::CipherSuite => write!(f, "; it offers {offer}"),
            Missing::Group => write!(f, "; it offers {}", offer.groups()),
            Missing::SignatureScheme => write!(f, "; it offers {}", offer.schemes()),
            Missing::Other => Ok(()),
        }
    }
}

fn alert_name(description: AlertDescription) -> &'static str {
    description.as_str().unwrap_or("unknown")
}

fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// Type, version and length (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
/// Longest record on the wire: TLS 1.2 allows an expansion of 2048 bytes.
const RECORD_CIPHERTEXT_MAX: usize = RECORD_HEADER + RECORD_PLAINTEXT_MAX + 2048;
const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;
/// What a record of any supported suite adds at most: header, explicit nonce (TLS 1.2), content type (1.3),
/// tag.
const RECORD_OVERHEAD: usize = RECORD_HEADER + 8 + 1 + 16;
/// Bytes of whole records kept for one handshake message (a long chain of client certificates): as much as
/// rustls accepts in a message, headers included.
const HANDSHAKE_KEPT_MAX: usize = 0xffff;
/// Longest ClientHello, with the headers of its records: ten times what clients send that offer keys of post-quantum
/// methods. Nothing is known of the client by then.
const HELLO_MAX: usize = 16 * 1024;
const HANDSHAKE_RECORD: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;
const ALERT_RECORD: u8 = 0x15;
const ALERT_FATAL: u8 = 2;
/// First byte of a CONNECT packet.
const MQTT_CONNECT: u8 = 0x10;

#[cfg(test)]
mod tests;
