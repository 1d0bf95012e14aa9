//! SCRAM-SHA-256 as an authentication method (RFC 5802, RFC 7677): the password never leaves the client, and the broker
//! proves that it knows the user, too. Feature `scram`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use komar_codec::ReasonCode;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Credential, Exchange, ExchangeContext, Known, Step};

type Key = [u8; 32];

/// What a server keeps of a password. A line of Mosquitto's password file cannot yield it: it has other keys.
#[derive(Clone)]
pub struct ScramCredential {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl ScramCredential {
    /// What was stored earlier.
    pub fn new(salt: Vec<u8>, iterations: u32, stored_key: Key, server_key: Key) -> ScramCredential {
        ScramCredential {
            salt,
            iterations,
            stored_key,
            server_key,
        }
    }

    /// Derives it from a password, as SASLprep (RFC 4013) leaves it. Slow by intent, so not for a turn; RFC 7677 asks for
    /// 4096 iterations at least.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> ScramCredential {
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        ScramCredential {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(client_key).into(),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// H(ClientKey), to be stored.
    pub fn stored_key(&self) -> &Key {
        &self.stored_key
    }

    /// ServerKey, to be stored.
    pub fn server_key(&self) -> &Key {
        &self.server_key
    }
}

/// Where credentials come from. Called on a worker's thread; must not block: what a database has is to be in memory by then.
pub trait ScramCredentials: Send + Sync {
    /// The credential of a user; `None` for one that cannot log in.
    fn find(&self, username: &str) -> Option<ScramCredential>;
}

/// Makes exchanges of the method [`METHOD`](Self::METHOD), for [`Authenticate::begin`](super::Authenticate::begin), and knows who
/// may stay that was let in by one: call [`recheck`](Self::recheck) in
/// [`Authenticate::recheck`](super::Authenticate::recheck).
#[derive(Clone)]
pub struct Scram {
    credentials: Arc<dyn ScramCredentials>,
    decoy_key: Key,
    decoy_iterations: u32,
}

impl Scram {
    /// The name of the method.
    pub const METHOD: &'static str = "SCRAM-SHA-256";

    /// `decoy_key` is random and stays the same: from it come the salts that users who do not exist are shown.
    /// `decoy_iterations` is what users who do have.
    pub fn new(credentials: Arc<dyn ScramCredentials>, decoy_key: Key, decoy_iterations: u32) -> Scram {
        Scram {
            credentials,
            decoy_key,
            decoy_iterations,
        }
    }

    /// Begins an exchange.
    pub fn begin(&self) -> Box<dyn Exchange> {
        Box::new(ScramExchange {
            scram: self.clone(),
            challenge: None,
            proved: None,
        })
    }

    /// Whether a client may stay that was let in by an exchange: its user is there, with the credential that it had then. With
    /// other ways to log in beside this one, each is asked, and the client stays where one of them says so.
    ///
    /// # Errors
    ///
    /// [`ReasonCode::NotAuthorized`]: the user is gone, has another credential now, or did not log in by SCRAM.
    pub fn recheck(&self, client: &Known<'_>) -> Result<(), ReasonCode> {
        let proved = client
            .credential
            .and_then(|credential| credential.downcast_ref::<Proved>());
        let username = client.identity.username.as_deref();
        let now = username.and_then(|username| self.credentials.find(username));
        match (proved, now) {
            (Some(proved), Some(now)) if proved.0 == now.stored_key => Ok(()),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }

    /// A credential that no password fits.
    fn decoy(&self, username: &str) -> ScramCredential {
        let of = |what: &[u8]| sign(&self.decoy_key, &[what, username.as_bytes()].concat());
        let salt = of(b"salt").iter().take(16).copied().collect();
        ScramCredential::new(salt, self.decoy_iterations, of(b"stored"), of(b"server"))
    }
}

struct ScramExchange {
    scram: Scram,
    /// What was asked of the client; `None`: nothing yet.
    challenge: Option<Challenge>,
    proved: Option<Key>,
}

/// What a client has proved that it knows the key to: H(ClientKey).
struct Proved(Key);

struct Challenge {
    username: String,
    credential: ScramCredential,
    /// Whether there is such a user; looked at behind the proof, so that time does not tell.
    known: bool,
    /// The GS2 header, to be repeated in `c`.
    header: String,
    nonce: String,
    /// The part of AuthMessage that is known so far.
    messages: String,
}

impl Exchange for ScramExchange {
    fn step(&mut self, data: Option<&[u8]>, context: &mut ExchangeContext<'_>) -> Step {
        let Some(text) = data.and_then(|data| core::str::from_utf8(data).ok()) else {
            return FAILED;
        };
        match self.challenge.take() {
            None => {
                let mut random = [0; 24];
                context.random(&mut random);
                match self.scram.challenge(text, &STANDARD.encode(random)) {
                    Some((challenge, message)) => {
                        self.challenge = Some(challenge);
                        Step::Continue(message.into_bytes())
                    }
                    None => FAILED,
                }
            }
            Some(challenge) => challenge.verify(text).map_or(FAILED, |signature| {
                self.proved = Some(challenge.credential.stored_key);
                Step::Accept {
                    username: Some(challenge.username.into()),
                    data: Some(signature.into_bytes()),
                }
            }),
        }
    }

    fn credential(&self) -> Option<Credential> {
        self.proved.map(|key| Arc::new(Proved(key)) as Credential)
    }
}

impl Scram {
    /// client-first-message in, server-first-message out.
    fn challenge(&self, client_first: &str, server_nonce: &str) -> Option<(Challenge, String)> {
        // Without channel binding, which there is none for MQTT; and nobody acts for somebody else.
        let bare = client_first
            .strip_prefix("n,,")
            .or_else(|| client_first.strip_prefix("y,,"))?;
        let header = client_first.get(..3)?.to_owned();
        let (name, rest) = bare.strip_prefix("n=")?.split_once(',')?;
        let client_nonce = rest.strip_prefix("r=")?.split(',').next()?;
        if client_nonce.is_empty() {
            return None;
        }
        let username = unescape(name)?;
        let (credential, known) = match self.credentials.find(&username) {
            Some(credential) => (credential, true),
            None => (self.decoy(&username), false),
        };
        let nonce = format!("{client_nonce}{server_nonce}");
        let salt = STANDARD.encode(&credential.salt);
        let message = format!("r={nonce},s={salt},i={}", credential.iterations);
        let challenge = Challenge {
            username,
            credential,
            known,
            header,
            nonce,
            messages: format!("{bare},{message}"),
        };
        Some((challenge, message))
    }
}

impl Challenge {
    /// client-final-message in, server-final-message out. `None`: the proof is wrong, or is none.
    fn verify(&self, client_final: &str) -> Option<String> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let (binding, rest) = without_proof.strip_prefix("c=")?.split_once(',')?;
        let nonce = rest.strip_prefix("r=")?.split(',').next()?;
        let is_answer = binding == STANDARD.encode(&self.header) && nonce == self.nonce;
        let proof: Key = STANDARD.decode(proof).ok()?.try_into().ok()?;
        let messages = format!("{},{without_proof}", self.messages);
        let signature = sign(&self.credential.stored_key, messages.as_bytes());
        let mut client_key = proof;
        for (byte, other) in client_key.iter_mut().zip(signature) {
            *byte ^= other;
        }
        let stored: Key = Sha256::digest(client_key).into();
        let fits: bool = stored.ct_eq(&self.credential.stored_key).into();
        (fits & self.known & is_answer).then(|| {
            let signature = sign(&self.credential.server_key, messages.as_bytes());
            format!("v={}", STANDARD.encode(signature))
        })
    }
}

/// The user name behind `n=`: `=2C` is a comma, `=3D` an equals sign, and no other `=` is allowed.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut username = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        username.push(character);
        username.push_str(rest);
    }
    (!username.is_empty()).then_some(username)
}

fn sign(key: &[u8], message: &[u8]) -> Key {
    // HMAC takes keys of any length, so this is never the default.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().into())
        .unwrap_or_default()
}

const FAILED: Step = Step::Refuse(ReasonCode::NotAuthorized);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::later::Asking;
    use crate::now::Millis;
    use crate::outbox::Outbox;

    /// `user` with `pencil` and the salt of RFC 7677 §3.
    struct Users;

    impl ScramCredentials for Users {
        fn find(&self, username: &str) -> Option<ScramCredential> {
            let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            (username == "user" || username == "a,b=c")
                .then(|| ScramCredential::derive(b"pencil", &salt, 4096))
        }
    }

    fn scram() -> Scram {
        Scram::new(Arc::new(Users), [7; 32], 4096)
    }

    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_exchange_of_rfc_7677() {
        let (challenge, message) = scram().challenge(FIRST, NONCE).unwrap();
        assert_eq!(
            message,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        assert_eq!(
            challenge.verify(FINAL).as_deref(),
            Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
    }

    /// What two sides of another implementation (scramp 1.5.0 for Python) said to each other: a name that has to be escaped, and
    /// a password that is not ASCII.
    #[test]
    fn an_exchange_of_another_implementation() {
        struct Other;
        impl ScramCredentials for Other {
            fn find(&self, username: &str) -> Option<ScramCredential> {
                let password = "p\u{e4}ssw\u{f6}rd \u{2013} \u{5bc6}\u{7801}";
                (username == "a,b=c")
                    .then(|| ScramCredential::derive(password.as_bytes(), b"0123456789abcdef", 5000))
            }
        }
        let scram = Scram::new(Arc::new(Other), [7; 32], 4096);
        let first = "n,,n=a=2Cb=3Dc,r=CLIENTnonce";
        let (challenge, message) = scram.challenge(first, "SERVERnonce/1+").unwrap();
        assert_eq!(
            message,
            "r=CLIENTnonceSERVERnonce/1+,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=5000"
        );
        assert_eq!(
            challenge
                .verify("c=biws,r=CLIENTnonceSERVERnonce/1+,p=9GLypozLcaMptFr5G9nt4HChTqhG5ZU+X5Z+dwAW3EE=")
                .as_deref(),
            Some("v=OD89BMqCd+5cNnEpwAoe43rQLIG4l7CJdtKbPa9/AXc=")
        );
    }

    #[test]
    fn whatever_else_is_said_is_no_proof() {
        let (challenge, _) = scram().challenge(FIRST, NONCE).unwrap();
        for wrong in [
            FINAL.replace("dHzb", "dHzc"),
            FINAL.replace("c=biws", "c=eSws"),
            FINAL.replace("k0,", "k1,"),
            FINAL.replace(",p=", ",x=1,p="),
            FINAL.replace("p=", "p=AA"),
            FINAL.replace(",p=", ",q="),
            String::new(),
        ] {
            assert_eq!(challenge.verify(&wrong), None, "{wrong}");
        }
        // Another server nonce: an answer that was overheard is of no use.
        let (challenge, _) = scram().challenge(FIRST, "other").unwrap();
        assert_eq!(challenge.verify(FINAL), None);
        for wrong in [
            "",
            "n=user,r=x",
            "p=tls-unique,,n=user,r=x",
            "n,a=other,n=user,r=x",
            "n,,n=,r=x",
            "n,,n=user,r=",
            "n,,n=user",
            "n,,m=x,n=user,r=x",
            "n,,n=us=er,r=x",
        ] {
            assert!(scram().challenge(wrong, NONCE).is_none(), "{wrong}");
        }
        assert!(
            scram()
                .challenge("y,,n=a=2Cb=3Dc,r=x,ext=1", NONCE)
                .is_some_and(|(it, _)| it.known)
        );
    }

    #[test]
    fn a_user_that_does_not_exist_is_shown_the_same_salt_each_time_and_never_let_in() {
        let first = FIRST.replace("user", "nobody");
        let (challenge, one) = scram().challenge(&first, "x").unwrap();
        let (_, other) = scram().challenge(&first, "x").unwrap();
        let (_, somebody_else) = scram().challenge(&FIRST.replace("user", "nobody2"), "x").unwrap();
        assert_eq!(one, other);
        assert_ne!(one, somebody_else);
        assert!(one.ends_with(",i=4096"));
        assert_eq!(challenge.verify(&FINAL.replace(NONCE, "x")), None);
    }

    /// A step of an exchange, with a nonce of nines.
    fn step(exchange: &mut dyn Exchange, data: Option<&str>) -> Step {
        let inbox = Arc::default();
        let outbox = Arc::new(Outbox::new(Box::new(()), Millis(0), 0));
        let mut entropy: crate::worker::Entropy = Box::new(|bytes| bytes.fill(9));
        let asking = Asking {
            inbox: &inbox,
            outbox: &outbox,
            ticket: 0,
            place: 0,
        };
        let mut context = ExchangeContext {
            entropy: &mut entropy,
            asking,
        };
        exchange.step(data.map(str::as_bytes), &mut context)
    }

    #[test]
    fn steps_come_in_their_order() {
        let mut exchange = scram().begin();
        assert!(matches!(step(&mut *exchange, None), Step::Refuse(_)));
        let Step::Continue(challenge) = step(&mut *exchange, Some(FIRST)) else {
            panic!("a challenge comes first");
        };
        assert!(challenge.starts_with(b"r=rOprNGfwEbeRWgbNEkqOCQkJ"));
        assert!(matches!(step(&mut *exchange, Some(FINAL)), Step::Refuse(_)));
        assert!(exchange.credential().is_none());
        // It is over, and begins anew.
        assert!(matches!(step(&mut *exchange, Some(FIRST)), Step::Continue(_)));
    }

    /// What a client answers that knows this password.
    fn answer(password: &[u8], challenge: &str) -> String {
        let nonce = challenge.split(',').next().unwrap();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, &salt, 4096);
        let client_key = sign(&salted, b"Client Key");
        let stored_key: Key = Sha256::digest(client_key).into();
        let without_proof = format!("c=biws,{nonce}");
        let messages = format!("{},{challenge},{without_proof}", &FIRST[3..]);
        let signature = sign(&stored_key, messages.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn a_user_stays_as_long_as_it_could_log_in_again() {
        let mut exchange = scram().begin();
        let Step::Continue(challenge) = step(&mut *exchange, Some(FIRST)) else {
            panic!("a challenge comes first");
        };
        let answer = answer(b"pencil", core::str::from_utf8(&challenge).unwrap());
        let Step::Accept { username, .. } = step(&mut *exchange, Some(&answer)) else {
            panic!("the proof is right");
        };
        let credential = exchange.credential().unwrap();
        let listener = crate::config::ListenerPolicy::default();
        let identity = crate::access::Identity::new("c".into(), username, listener.id);
        let recheck = |scram: &Scram, credential: Option<&Credential>| {
            scram.recheck(&Known {
                listener: &listener,
                identity: &identity,
                credential,
            })
        };
        /// Everybody has this password.
        struct Others(&'static [u8]);
        impl ScramCredentials for Others {
            fn find(&self, _: &str) -> Option<ScramCredential> {
                let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
                (!self.0.is_empty()).then(|| ScramCredential::derive(self.0, &salt, 4096))
            }
        }
        let others = |password| Scram::new(Arc::new(Others(password)), [7; 32], 4096);
        let refused = Err(ReasonCode::NotAuthorized);
        assert_eq!(recheck(&scram(), Some(&credential)), Ok(()));
        assert_eq!(recheck(&others(b"pencil"), Some(&credential)), Ok(()));
        assert_eq!(recheck(&others(b"pen"), Some(&credential)), refused);
        assert_eq!(recheck(&others(b""), Some(&credential)), refused);
        // It came in by another way.
        assert_eq!(recheck(&scram(), None), refused);
        assert_eq!(recheck(&scram(), Some(&(Arc::new(1) as Credential))), refused);
    }
}
