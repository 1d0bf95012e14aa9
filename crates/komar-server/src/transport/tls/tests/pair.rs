//! A client of rustls and a server of ours, and what feeds the server without a client.

use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};

use super::*;

/// A client of rustls and a server of ours, without a network.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: Tls,
    /// Most bytes that the server is fed at once.
    step: usize,
    /// Plaintext that has arrived at the server.
    pub(super) received: Vec<u8>,
}

/// Who has refused to go on, and why.
#[derive(Debug)]
pub(super) enum Failure {
    /// With what the client makes of the alert.
    Server(Box<(TlsError, Option<rustls::Error>)>),
    Client(#[allow(dead_code, reason = "shown when a test fails")] rustls::Error),
}

impl Pair {
    pub(super) fn of(server: Arc<ServerConfig>, client: &Arc<ClientConfig>, step: usize) -> Pair {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        client.set_buffer_limit(None);
        Pair {
            client,
            server: Tls::accept(&server).unwrap(),
            step,
            received: Vec::new(),
        }
    }

    pub(super) fn with(
        version: &'static SupportedProtocolVersion,
        client_certificate: bool,
        fragment: Option<usize>,
        step: usize,
    ) -> Pair {
        let client = client_config(version, client_certificate, fragment);
        Pair::of(
            Arc::new(server_config(version, client_certificate)),
            &Arc::new(client),
            step,
        )
    }

    pub(super) fn open(version: &'static SupportedProtocolVersion, step: usize) -> Pair {
        let mut pair = Pair::with(version, false, None, step);
        pair.handshake();
        pair
    }

    pub(super) fn handshake(&mut self) {
        while self.client.is_handshaking() || self.client.wants_write() {
            self.exchange().unwrap();
        }
        assert!(!self.server.is_handshaking());
        self.assert_nothing_kept();
    }

    pub(super) fn failing_handshake(&mut self) -> (TlsError, Option<rustls::Error>) {
        for _ in 0..10 {
            if let Err(Failure::Server(errors)) = self.exchange() {
                return *errors;
            }
        }
        panic!("the server has accepted the client");
    }

    /// Everything that the client has to send, and the answers.
    pub(super) fn exchange(&mut self) -> Result<TlsState, Failure> {
        let mut ciphertext = self.client_output();
        let (mut outgoing, mut state) = (Vec::new(), TlsState::Handshaking);
        for piece in ciphertext.chunks_mut(self.step) {
            match self.server.feed(piece, &mut self.received, &mut outgoing) {
                Ok(new) => {
                    state = new;
                    assert_eq!(state == TlsState::Handshaking, self.server.is_handshaking());
                    assert!(state != TlsState::Handshaking || self.server.peer_certificate().is_none());
                }
                Err(error) => {
                    let told = self.deliver_to_client(&outgoing).err();
                    return Err(Failure::Server(Box::new((error, told))));
                }
            }
        }
        self.deliver_to_client(&outgoing).map_err(Failure::Client)?;
        Ok(state)
    }

    pub(super) fn deliver_to_client(&mut self, mut ciphertext: &[u8]) -> Result<(), rustls::Error> {
        while !ciphertext.is_empty() {
            if self.client.read_tls(&mut ciphertext).unwrap() == 0 {
                break;
            }
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    pub(super) fn client_output(&mut self) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut ciphertext).unwrap();
        }
        ciphertext
    }

    pub(super) fn sealed_by_client(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        self.client_output()
    }

    /// Sends `data` to the server; what arrives there.
    pub(super) fn at_server(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        assert_eq!(self.exchange().unwrap(), TlsState::Open);
        std::mem::take(&mut self.received)
    }

    /// Sends `data` to the client; what arrives there.
    pub(super) fn at_client(&mut self, data: &[u8]) -> Vec<u8> {
        let (mut ciphertext, mut arrived) = (Vec::new(), Vec::new());
        self.server.encrypt(data, &mut ciphertext).unwrap();
        for piece in ciphertext.chunks(4096) {
            self.deliver_to_client(piece).unwrap();
            match self.client.reader().read_to_end(&mut arrived) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => panic!("{other:?}"),
            }
        }
        arrived
    }

    pub(super) fn assert_close_reaches_client(&mut self) {
        let mut outgoing = Vec::new();
        self.server.close(&mut outgoing);
        self.deliver_to_client(&outgoing).unwrap();
        assert_eq!(self.client.reader().read(&mut [0; 1]).unwrap(), 0, "end of data");
        let length = outgoing.len();
        self.server.close(&mut outgoing);
        assert!(matches!(
            self.server.encrypt(b"x", &mut outgoing),
            Err(TlsError::Ended)
        ));
        assert_eq!(outgoing.len(), length);
    }

    pub(super) fn assert_nothing_kept(&self) {
        assert_eq!((self.server.kept.capacity(), self.server.settled), (0, 0));
    }

    pub(super) fn assert_ended(&mut self) {
        let mut outgoing = Vec::new();
        assert!(matches!(
            self.server.feed(&mut [0; 9], &mut Vec::new(), &mut outgoing),
            Err(TlsError::Ended)
        ));
        assert!(matches!(
            self.server.encrypt(b"x", &mut outgoing),
            Err(TlsError::Ended)
        ));
        self.server.close(&mut outgoing);
        assert!(outgoing.is_empty());
        self.assert_nothing_kept();
    }
}

/// Makes authentic records that no client of rustls would send.
pub(super) struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    pub(super) fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: payload.into(),
        };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap().encode();
        self.sequence += 1;
        record
    }
}

/// An open server, and its client in the wrong hands.
pub(super) fn forged() -> (Tls, Forger) {
    let mut client = client_config(&TLS13, false, None);
    client.enable_secret_extraction = true;
    let mut pair = Pair::of(Arc::new(server_config(&TLS13, false)), &Arc::new(client), WHOLE);
    pair.handshake();
    let suite = pair.client.negotiated_cipher_suite().unwrap().tls13().unwrap();
    let (sequence, secrets) = pair.client.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("another cipher suite")
    };
    (
        pair.server,
        Forger {
            encrypter: suite.aead_alg.encrypter(key, iv),
            sequence,
        },
    )
}

pub(super) fn accept() -> Tls {
    static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
        Arc::new(
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&VERSIONS)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(PKI.server.chain(), PKI.server.key())
                .unwrap(),
        )
    });
    Tls::accept(&CONFIG).unwrap()
}

pub(super) fn feed_in_steps(server: &mut Tls, input: &[u8], step: usize) -> (Option<TlsError>, Vec<u8>) {
    let (mut input, mut plaintext, mut outgoing) = (input.to_vec(), Vec::new(), Vec::new());
    for piece in input.chunks_mut(step) {
        if let Err(error) = server.feed(piece, &mut plaintext, &mut outgoing) {
            return (Some(error), outgoing);
        }
        assert!(server.kept.len() < HANDSHAKE_KEPT_MAX + RECORD_CIPHERTEXT_MAX);
    }
    (None, outgoing)
}

/// The first `sent` bytes of a ClientHello of `length` bytes (its own header not counted), one in each
/// record.
pub(super) fn fragmented_handshake(length: u32, sent: usize) -> Vec<u8> {
    let [_, high, middle, low] = length.to_be_bytes();
    let message = [1, high, middle, low].into_iter().chain(std::iter::repeat(0));
    message
        .take(sent)
        .flat_map(|byte| [HANDSHAKE_RECORD, 3, 1, 0, 1, byte])
        .collect()
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}
