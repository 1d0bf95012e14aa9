//! A store in one file: batches behind each other, a sync for each, and all of them read at the start. It shows what an
//! engine has to do and is good for tests; it never gets smaller.
//!
//! A batch is its length, a checksum, the number of its last change, and the changes. What is behind the last whole batch was
//! being written when the power went, and is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::store::{
    Change, Commit, Contents, PersistBatch, Replay, Sequence, StoredMessage, StoredRetained, StoredWill,
};
use komar_broker_core::{Identity, ListenerId};
use komar_codec::{PacketIdentifier, QoS, RetainHandling, SubscriptionOptions};

/// The file, open for the next batch.
#[derive(Debug)]
pub struct FileStore {
    file: File,
}

impl FileStore {
    /// Opens the file, or makes it, and reads what is there.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or holds what does not fit together.
    pub fn open(path: &Path) -> io::Result<(FileStore, Contents)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut replay, mut rest) = (Replay::default(), bytes.as_slice());
        while let Some(batch) = next_batch(&mut rest) {
            replay.add(batch?).map_err(io::Error::other)?;
        }
        let whole = bytes.len() - rest.len();
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::Start(whole as u64))?;
        Ok((FileStore { file }, replay.contents()))
    }
}

impl Commit for FileStore {
    type Error = io::Error;

    fn commit(&mut self, batch: &PersistBatch) -> io::Result<()> {
        let mut body = Writer::default();
        body.number(batch.last.0);
        batch.changes.iter().try_for_each(|change| body.change(change))?;
        let mut frame = Writer::default();
        frame.number(body.0.len() as u64);
        frame.number(checksum(&body.0));
        frame.0.append(&mut body.0);
        self.file.write_all(&frame.0)?;
        self.file.sync_data()
    }
}

/// Takes the next whole batch off the front; `None`: there is none.
fn next_batch(rest: &mut &[u8]) -> Option<io::Result<PersistBatch>> {
    let mut reader = Reader(rest);
    let (length, sum) = (reader.number()?, reader.number()?);
    let body = reader.take(usize::try_from(length).ok()?)?;
    if checksum(body) != sum {
        return None;
    }
    *rest = reader.0;
    let mut reader = Reader(body);
    let mut batch = PersistBatch::default();
    batch.last = Sequence(reader.number()?);
    while !reader.0.is_empty() {
        match reader.change() {
            Some(change) => batch.changes.push(change),
            None => return Some(Err(io::Error::other("a batch that cannot be read"))),
        }
    }
    Some(Ok(batch))
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    })
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn time(&mut self, time: Duration) {
        self.number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    fn identity(&mut self, identity: &Identity) {
        self.text(&identity.client_id);
        self.maybe(identity.username.as_deref(), Writer::text);
        self.number(identity.listener.0.into());
    }

    fn message(&mut self, message: &StoredMessage) {
        self.text(message.topic_name());
        self.bytes(message.properties());
        self.bytes(message.payload());
        self.byte(message.qos().as_u8());
        self.byte(u8::from(message.retain()));
        self.byte(u8::from(message.is_moved()));
        self.maybe(message.expires(), Writer::time);
    }

    fn change(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::SessionBound {
                identity,
                lease,
                session_expiry_interval,
            } => {
                self.byte(0);
                self.identity(identity);
                self.number(*lease);
                self.number((*session_expiry_interval).into());
            }
            Change::SessionUnbound {
                client_id,
                session_expiry_interval,
                at,
            } => {
                self.byte(1);
                self.text(client_id);
                self.number((*session_expiry_interval).into());
                self.time(*at);
            }
            Change::SessionEnded { client_id } => {
                self.byte(2);
                self.text(client_id);
            }
            Change::Subscribed {
                client_id,
                filter,
                options,
                identifier,
            } => {
                self.byte(3);
                self.text(client_id);
                self.text(filter);
                self.byte(options.maximum_qos.as_u8());
                self.byte(u8::from(options.no_local));
                self.byte(u8::from(options.retain_as_published));
                self.number(identifier.unwrap_or(0).into());
            }
            Change::Unsubscribed { client_id, filter } => {
                self.byte(4);
                self.text(client_id);
                self.text(filter);
            }
            Change::Enqueued {
                client_id,
                message,
                qos,
                retain,
                subscription_identifiers,
                share,
                packet_identifier,
            } => {
                self.byte(5);
                self.text(client_id);
                self.message(message);
                self.byte(qos.as_u8());
                self.byte(u8::from(*retain));
                self.number(subscription_identifiers.len() as u64);
                for identifier in subscription_identifiers {
                    self.number((*identifier).into());
                }
                self.maybe(share.as_deref(), Writer::text);
                self.number(packet_identifier.map_or(0, PacketIdentifier::get).into());
            }
            Change::Sent {
                client_id,
                message,
                packet_identifier,
            } => {
                self.of_message(6, client_id, *message);
                self.number(packet_identifier.get().into());
            }
            Change::Received { client_id, message } => self.of_message(7, client_id, *message),
            Change::Withheld { client_id, message } => self.of_message(8, client_id, *message),
            Change::Dequeued { client_id, message } => self.of_message(9, client_id, *message),
            Change::Unreleased {
                client_id,
                packet_identifier,
                message,
            } => {
                self.byte(10);
                self.text(client_id);
                self.number(packet_identifier.get().into());
                self.maybe(message.as_ref(), Writer::message);
            }
            Change::Released {
                client_id,
                packet_identifier,
            } => {
                self.byte(11);
                self.text(client_id);
                self.number(packet_identifier.get().into());
            }
            Change::Will { will } => {
                self.byte(12);
                self.identity(&will.identity);
                self.number(will.lease);
                self.message(&will.message);
                self.maybe(will.expiry, Writer::time);
                self.time(will.delay);
            }
            Change::WillOver { will } => {
                self.byte(13);
                self.number(will.0);
            }
            Change::Retained { retained } => {
                self.byte(14);
                self.message(&retained.message);
                self.maybe(retained.source.as_deref(), Writer::identity);
                self.maybe(retained.forgotten, Writer::time);
            }
            Change::RetainedCleared { topic_name } => {
                self.byte(15);
                self.text(topic_name);
            }
            // What is left out would be lost.
            other => {
                return Err(io::Error::other(format!(
                    "a change of an unknown kind: {other:?}"
                )));
            }
        }
        Ok(())
    }

    fn of_message(&mut self, kind: u8, client_id: &str, message: Sequence) {
        self.byte(kind);
        self.text(client_id);
        self.number(message.0);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.small()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn time(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn qos(&mut self) -> Option<QoS> {
        QoS::from_u8(self.byte()?)
    }

    /// `None` in the place of 0.
    fn identifier(&mut self) -> Option<Option<PacketIdentifier>> {
        self.small().map(PacketIdentifier::new)
    }

    fn identity(&mut self) -> Option<Arc<Identity>> {
        let client_id = self.text()?.into();
        let username = self.maybe(|reader| reader.text().map(Arc::from))?;
        let listener = ListenerId(self.small()?);
        Some(Arc::new(Identity::new(client_id, username, listener)))
    }

    fn message(&mut self) -> Option<StoredMessage> {
        let (topic_name, properties, payload) = (self.text()?, self.bytes()?, self.bytes()?);
        let (qos, retain, is_moved) = (self.qos()?, self.flag()?, self.flag()?);
        let expires = self.maybe(Reader::time)?;
        let message = StoredMessage::new(topic_name, properties, payload, qos, retain, expires).ok()?;
        Some(message.moved(is_moved))
    }

    fn change(&mut self) -> Option<Change> {
        Some(match self.byte()? {
            0 => Change::SessionBound {
                identity: self.identity()?,
                lease: self.number()?,
                session_expiry_interval: self.small()?,
            },
            1 => Change::SessionUnbound {
                client_id: self.text()?.into(),
                session_expiry_interval: self.small()?,
                at: self.time()?,
            },
            2 => Change::SessionEnded {
                client_id: self.text()?.into(),
            },
            3 => Change::Subscribed {
                client_id: self.text()?.into(),
                filter: self.text()?.into(),
                options: SubscriptionOptions {
                    maximum_qos: self.qos()?,
                    no_local: self.flag()?,
                    retain_as_published: self.flag()?,
                    // It was for that SUBSCRIBE.
                    retain_handling: RetainHandling::default(),
                },
                identifier: self.small().map(|number: u32| (number > 0).then_some(number))?,
            },
            4 => Change::Unsubscribed {
                client_id: self.text()?.into(),
                filter: self.text()?.into(),
            },
            5 => Change::Enqueued {
                client_id: self.text()?.into(),
                message: self.message()?,
                qos: self.qos()?,
                retain: self.flag()?,
                subscription_identifiers: {
                    let count: usize = self.small()?;
                    (0..count).map(|_| self.small()).collect::<Option<_>>()?
                },
                share: self.maybe(|reader| reader.text().map(Arc::from))?,
                packet_identifier: self.identifier()?,
            },
            6 => Change::Sent {
                client_id: self.text()?.into(),
                message: Sequence(self.number()?),
                packet_identifier: self.identifier()??,
            },
            7 => Change::Received {
                client_id: self.text()?.into(),
                message: Sequence(self.number()?),
            },
            8 => Change::Withheld {
                client_id: self.text()?.into(),
                message: Sequence(self.number()?),
            },
            9 => Change::Dequeued {
                client_id: self.text()?.into(),
                message: Sequence(self.number()?),
            },
            10 => Change::Unreleased {
                client_id: self.text()?.into(),
                packet_identifier: self.identifier()??,
                message: self.maybe(Reader::message)?,
            },
            11 => Change::Released {
                client_id: self.text()?.into(),
                packet_identifier: self.identifier()??,
            },
            12 => Change::Will {
                will: StoredWill {
                    identity: self.identity()?,
                    lease: self.number()?,
                    message: self.message()?,
                    expiry: self.maybe(Reader::time)?,
                    delay: self.time()?,
                },
            },
            13 => Change::WillOver {
                will: Sequence(self.number()?),
            },
            14 => Change::Retained {
                retained: StoredRetained {
                    message: self.message()?,
                    source: self.maybe(Reader::identity)?,
                    forgotten: self.maybe(Reader::time)?,
                },
            },
            15 => Change::RetainedCleared {
                topic_name: self.text()?.into(),
            },
            _ => return None,
        })
    }
}
