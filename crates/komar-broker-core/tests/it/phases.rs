//! Every packet in every phase, `data/phases.txt`.

use std::sync::Arc;

use komar_broker_core::{Access, BrokerConfig, FileAccess, LinkState, ListenerFiles, ListenerPolicy};
use komar_codec::ProtocolVersion;
use komar_passwd::{Editor, PasswordFile, Scheme, StoredHash};
use komar_testkit::{PeerId, Site, words};

use crate::exchange::Methods;
use crate::tables::check;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitingConnect,
    Authenticating,
    Exchanging,
    Established,
    Established3,
    Disconnected,
}

#[test]
fn phases() {
    check("phases.txt", |fields| {
        let [packet, cells @ ..] = fields else {
            return Err("a packet".to_owned());
        };
        let phases = [
            Phase::AwaitingConnect,
            Phase::Authenticating,
            Phase::Exchanging,
            Phase::Established,
            Phase::Established3,
            Phase::Disconnected,
        ];
        if cells.len() != phases.len() {
            return Err("six cells".to_owned());
        }
        for (phase, expected) in phases.into_iter().zip(cells) {
            let came = play(phase, packet)?;
            if !came.is(expected)? {
                return Err(format!("{phase:?}: expected: {expected}, came: {came:?}"));
            }
        }
        Ok(())
    });
}

/// What can be seen after the packet.
#[derive(Debug)]
struct Came {
    packet: Option<words::Said>,
    closed: bool,
    state: LinkState,
    /// The state before the packet.
    before: LinkState,
}

impl Came {
    fn is(&self, expected: &str) -> Result<bool, String> {
        let silent = self.packet.is_none();
        Ok(match expected {
            "closed" => silent && self.closed && self.before == LinkState::Open,
            "taken" => silent && !self.closed && self.state == LinkState::Open,
            "waits" => silent && !self.closed && self.state == LinkState::Paused,
            "unread" => silent && self.closed && self.before == LinkState::Closing,
            _ => {
                let is_code = expected.starts_with("0x");
                let expected = if is_code {
                    format!("disconnect {expected}")
                } else {
                    expected.to_owned()
                };
                let Some(packet) = &self.packet else {
                    return Ok(false);
                };
                packet.matches(&expected)? && self.closed == is_code
            }
        })
    }
}

fn play(phase: Phase, packet: &str) -> Result<Came, String> {
    let version = if phase == Phase::Established3 {
        ProtocolVersion::V3_1_1
    } else {
        ProtocolVersion::V5
    };
    let access = match phase {
        Phase::Authenticating => with_password()?,
        Phase::Exchanging => Methods::default().access(),
        _ => Access::allow_all(),
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    site.hold_checks(true);
    let peer = site.open(0, &Arc::new(ListenerPolicy::default()));
    reach(&mut site, peer, phase)?;
    let before = site.link_state(peer);
    let bytes = words::encode(version, packet)?;
    site.send(peer, &bytes);
    site.settle();
    let packet = site.next_packet(peer, version)?;
    if site.unread(peer) > 0 {
        return Err(format!("{phase:?}: more than one packet came"));
    }
    Ok(Came {
        packet,
        closed: site.is_closed(peer),
        state: site.link_state(peer),
        before,
    })
}

fn reach(site: &mut Site, peer: PeerId, phase: Phase) -> Result<(), String> {
    let connect = match phase {
        Phase::AwaitingConnect => return Ok(()),
        Phase::Authenticating => "connect v5 id=a user=alice password=secret",
        Phase::Exchanging => "connect v5 id=a method=echo data=one",
        Phase::Established3 => "connect v3 id=a",
        Phase::Established | Phase::Disconnected => "connect v5 id=a",
    };
    site.send(peer, &words::encode(ProtocolVersion::V5, connect)?);
    if phase == Phase::Disconnected {
        site.send(peer, &words::encode(ProtocolVersion::V5, "disconnect")?);
    }
    site.settle();
    site.take_bytes(peer);
    Ok(())
}

fn with_password() -> Result<Access, String> {
    let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[7; 12]).map_err(|error| error.to_string())?;
    let mut editor = Editor::new(b"");
    editor.set("alice", &hash).map_err(|error| error.to_string())?;
    let passwords = PasswordFile::parse(&editor.text()).map_err(|errors| errors.to_string())?;
    let files = ListenerFiles {
        passwords: Some(Arc::new(passwords)),
        ..ListenerFiles::default()
    };
    Ok(FileAccess::new(files).into_access())
}
