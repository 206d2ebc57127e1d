//! What comes in over a socket: frames of RFC 6455, put together into messages.
//!
//! It has as many bytes as have come of a message that is not whole yet, and none while nothing comes. What a frame
//! announces is looked at before it is read: a message too large is not taken in at all.

use std::io::Cursor;
use std::mem;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// What a control frame may carry.
const CONTROL_BYTES: u64 = 125;
/// A message that is longer has a buffer of its own, with room for most others of its kind.
const LONG: usize = 32 << 10;
/// The room: what is longer than that is not copied whenever its buffer doubles, and leaves no pieces of every size behind.
const ROOM: usize = 1 << 20;

/// A message, or what WebSocket itself says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(String),
    /// Its bytes are of no interest: all our messages are text.
    Binary,
    /// Is to be answered with the same bytes.
    Ping(Vec<u8>),
    Pong,
    /// With its code, if it has one.
    Close(Option<u16>),
}

/// Why what comes cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    TooLarge,
    NotText,
    Protocol,
}

/// What has come and was not taken yet.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// The fragments that have come of a message: whether it is a text, and its bytes.
    message: Option<(bool, Vec<u8>)>,
}

impl Input {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        append(&mut self.bytes, bytes);
    }

    /// The next message that is whole. It may have up to `most` bytes.
    pub(super) fn take(&mut self, most: usize) -> Result<Option<Incoming>, Wrong> {
        while let Some((header, payload)) = self.frame(most)? {
            match header.opcode {
                OpCode::Control(Control::Ping) => return Ok(Some(Incoming::Ping(payload))),
                OpCode::Control(Control::Pong) => return Ok(Some(Incoming::Pong)),
                OpCode::Control(_) => return close(&payload).map(Some),
                OpCode::Data(kind) => {
                    let (is_text, message) = match (kind, self.message.take()) {
                        (Data::Continue, Some((is_text, mut message))) => {
                            append(&mut message, &payload);
                            (is_text, message)
                        }
                        (Data::Text, None) => (true, payload),
                        (Data::Binary, None) => (false, payload),
                        // A fragment of nothing, or another message in the middle of one.
                        _ => return Err(Wrong::Protocol),
                    };
                    if header.is_final {
                        return whole(is_text, message).map(Some);
                    }
                    self.message = Some((is_text, message));
                }
            }
        }
        Ok(None)
    }

    /// The next frame that has come as a whole, unmasked.
    fn frame(&mut self, most: usize) -> Result<Option<(FrameHeader, Vec<u8>)>, Wrong> {
        let mut cursor = Cursor::new(&self.bytes);
        let header = FrameHeader::parse(&mut cursor).map_err(|_| Wrong::Protocol)?;
        let Some((header, length)) = header else { return Ok(None) };
        let start = usize::try_from(cursor.position()).map_err(|_| Wrong::TooLarge)?;
        let Some(mask) = header.mask.filter(|_| !(header.rsv1 || header.rsv2 || header.rsv3)) else {
            return Err(Wrong::Protocol);
        };
        if matches!(header.opcode, OpCode::Control(_)) {
            if length > CONTROL_BYTES || !header.is_final {
                return Err(Wrong::Protocol);
            }
        } else {
            let before = self.message.as_ref().map_or(0, |(_, message)| message.len());
            if length > most.saturating_sub(before) as u64 {
                return Err(Wrong::TooLarge);
            }
        }
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).ok_or(Wrong::TooLarge)?;
        let Some(payload) = self.bytes.get(start..end) else { return Ok(None) };
        let mask = mask.into_iter().cycle();
        if payload.len() > LONG {
            // It takes the buffer with it.
            let rest = self.bytes.split_off(end);
            let mut payload = mem::replace(&mut self.bytes, rest);
            payload.drain(..start);
            payload.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
            return Ok(Some((header, payload)));
        }
        let payload = payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        self.bytes = self.bytes.get(end..).map(<[u8]>::to_vec).unwrap_or_default();
        Ok(Some((header, payload)))
    }
}

/// Only what has come takes memory: of the room, what is never written to has none.
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    if buffer.len() + bytes.len() > LONG && buffer.capacity() < ROOM {
        buffer.reserve_exact(ROOM.saturating_sub(buffer.len()).max(bytes.len()));
    }
    buffer.extend_from_slice(bytes);
}

fn whole(is_text: bool, message: Vec<u8>) -> Result<Incoming, Wrong> {
    if is_text {
        String::from_utf8(message).map(Incoming::Text).map_err(|_| Wrong::NotText)
    } else {
        Ok(Incoming::Binary)
    }
}

fn close(payload: &[u8]) -> Result<Incoming, Wrong> {
    let (code, reason) = match payload {
        [] => return Ok(Incoming::Close(None)),
        [first, second, reason @ ..] => (u16::from_be_bytes([*first, *second]), reason),
        [_] => return Err(Wrong::Protocol),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(Wrong::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| Wrong::NotText)?;
    Ok(Incoming::Close(Some(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 100_000;

    /// A client's frame: its first byte, then what is masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..65_536 => {
                bytes.push(0x80 | 0x7e);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 0x7f);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [1, 20, 255, 7];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn all(input: &mut Input) -> Result<Vec<Incoming>, Wrong> {
        std::iter::from_fn(|| input.take(MOST).transpose()).collect()
    }

    fn of(frames: &[Vec<u8>]) -> Result<Vec<Incoming>, Wrong> {
        let mut input = Input::default();
        input.extend(&frames.concat());
        all(&mut input)
    }

    #[test]
    fn messages_come_whole_however_their_bytes_come() {
        let long = "é".repeat(40_000);
        let frames = [
            frame(0x81, b"one"),
            frame(0x01, "tw\u{f6}".as_bytes().split_last().unwrap().1),
            frame(0x89, b"in between"),
            frame(0x00, b""),
            frame(0x80, &[0xb6]),
            frame(0x82, &[1, 2, 3]),
            frame(0x8a, b""),
            frame(0x81, long.as_bytes()),
            frame(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat()),
        ];
        let wanted = [
            Incoming::Text("one".into()),
            Incoming::Ping(b"in between".to_vec()),
            Incoming::Text("tw\u{f6}".into()),
            Incoming::Binary,
            Incoming::Pong,
            Incoming::Text(long),
            Incoming::Close(Some(1000)),
        ];
        for piece in [1, 2, 3, 7, 4096, usize::MAX] {
            let mut input = Input::default();
            let mut came = Vec::new();
            for bytes in frames.concat().chunks(piece) {
                input.extend(bytes);
                came.extend(all(&mut input).unwrap());
            }
            assert_eq!(came, wanted, "in pieces of {piece}");
            assert_eq!((input.bytes.capacity(), input.message.is_some()), (0, false), "nothing is kept");
        }
    }

    #[test]
    fn a_long_message_has_one_buffer_which_goes_with_it() {
        let long = vec![b'x'; 2 * LONG];
        let (first, rest) = long.split_at(LONG);
        for frames in [vec![frame(0x81, &long)], vec![frame(0x01, first), frame(0x00, rest), frame(0x80, b"")]] {
            let mut input = Input::default();
            let mut came = Vec::new();
            for bytes in [frames.concat(), frame(0x81, b"short")].concat().chunks(1000) {
                input.extend(bytes);
                let has = input.bytes.capacity();
                assert!(has <= 2 * LONG || has >= ROOM, "grown to {has}");
                came.extend(all(&mut input).unwrap());
            }
            let [Incoming::Text(came), Incoming::Text(short)] = &came[..] else { panic!("{came:?}") };
            assert_eq!((came.as_bytes(), short.as_str()), (&long[..], "short"));
            assert!(came.capacity() >= ROOM, "it was copied to one of {}", came.capacity());
            assert_eq!(input.bytes.capacity(), 0, "nothing is kept");
        }
    }

    #[test]
    fn what_is_against_the_rules_is_told_from_what_is_not() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        for frames in [
            vec![unmasked],
            vec![frame(0xc1, b"x")],
            vec![frame(0x83, b"x")],
            vec![frame(0x8b, b"x")],
            vec![frame(0x80, b"x")],
            vec![frame(0x01, b"x"), frame(0x81, b"y")],
            vec![frame(0x09, b"x")],
            vec![frame(0x89, &[0; 126])],
            vec![frame(0x88, &[3])],
            vec![frame(0x88, &1005_u16.to_be_bytes())],
        ] {
            assert_eq!(of(&frames), Err(Wrong::Protocol), "{frames:?}");
        }
        assert_eq!(of(&[frame(0x81, &[0xff])]), Err(Wrong::NotText));
        assert_eq!(of(&[frame(0x88, &[3, 232, 0xff])]), Err(Wrong::NotText));
        assert_eq!(of(&[frame(0x88, b"")]), Ok(vec![Incoming::Close(None)]));
    }

    #[test]
    fn a_message_too_large_is_refused_by_what_it_announces() {
        let most = frame(0x81, &vec![b'x'; MOST]);
        assert_eq!(of(&[most]).map(|came| came.len()), Ok(1));
        let mut input = Input::default();
        input.extend(&frame(0x81, &vec![b'x'; MOST + 1])[..14]);
        assert_eq!(all(&mut input), Err(Wrong::TooLarge));
        // All fragments together.
        let mut input = Input::default();
        input.extend(&frame(0x01, &vec![b'x'; MOST - 1]));
        assert_eq!(all(&mut input), Ok(vec![]));
        input.extend(&frame(0x80, b"xx"));
        assert_eq!(all(&mut input), Err(Wrong::TooLarge));
    }
}
