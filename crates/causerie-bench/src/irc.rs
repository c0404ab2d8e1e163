//! IRC (`docs/irc.md`), as little of it as a load needs. Members negotiate `echo-message` and nothing else, so that
//! those who talk can check that their own lines come, in their place. Where a server does not know it, they check
//! the others' lines.

use memchr::memchr;

use crate::native;
use crate::socket::LoadServer;
use crate::speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

/// A line has 512 bytes; the others are for who says it, where, and a long name of the server.
const TEXT_BYTES_MAX: usize = 320;
/// No server sends a longer line without its end: 512 bytes, and 8191 of tags.
const LINE_BYTES_MAX: usize = 8191 + 512;

/// IRC: causerie's gateway on the front port, or any other server.
#[derive(Clone, Copy, Debug)]
pub struct Irc {
    /// The server on which rooms are opened first, where joining does not make them.
    opens_at: Option<LoadServer>,
    /// The server knows `echo-message`.
    echoes: bool,
}

impl Irc {
    /// Speaks to this server of causerie's, which should not limit how many lines a client sends (`--irc-rate 0`).
    #[must_use]
    pub fn new(server: impl Into<LoadServer>) -> Self {
        Self { opens_at: Some(server.into()), echoes: true }
    }

    /// Speaks to another IRC server, where whoever joins a channel makes it. `echoes`: it knows
    /// `echo-message`.
    #[must_use]
    pub const fn elsewhere(echoes: bool) -> Self {
        Self { opens_at: None, echoes }
    }
}

impl LoadProtocol for Irc {
    fn name(&self) -> &'static str {
        "irc"
    }

    fn echoes(&self) -> bool {
        self.echoes
    }

    fn text_bytes_max(&self) -> usize {
        TEXT_BYTES_MAX
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(IrcMember::new(seat, self.echoes))
    }

    /// Opens rooms as for the others: whoever makes rooms this way may close them.
    fn open(&self, rooms: &[String]) -> Result<(), SpeakError> {
        self.opens_at.map_or(Ok(()), |server| native::create_rooms(server, rooms))
    }

    fn close(&self, rooms: &[String]) {
        if let Some(server) = self.opens_at {
            // The server may be gone; then so are the rooms.
            let _ = native::close_rooms(server, rooms);
        }
    }
}

struct IrcMember {
    seat: SpeakerSeat,
    echoes: bool,
    /// Words before each text: ` PRIVMSG #room :`.
    before_text: String,
    is_ready: bool,
}

impl IrcMember {
    fn new(seat: SpeakerSeat, echoes: bool) -> Self {
        let before_text = format!(" PRIVMSG #{} :", seat.room);
        Self { seat, echoes, before_text, is_ready: false }
    }

    /// Any line that brings no text.
    #[cold]
    fn line(&mut self, line: &str, out: &mut Vec<u8>) -> Result<(), SpeakError> {
        let refused = || Err(SpeakError::Refused { message: line.to_owned() });
        let (source, rest) = match line.strip_prefix(':') {
            Some(line) => line.split_once(' ').unwrap_or((line, "")),
            None => ("", line),
        };
        let (command, params) = rest.split_once(' ').unwrap_or((rest, ""));
        match command {
            "PING" => out.extend_from_slice(format!("PONG {params}\r\n").as_bytes()),
            // Some servers take no other command before they have welcomed a client, perhaps a second later.
            "001" => out.extend_from_slice(format!("JOIN #{}\r\n", self.seat.room).as_bytes()),
            // The list of who is in stands behind the joining.
            "366" => self.is_ready = true,
            // There is no message of the day.
            "422" => {}
            "ERROR" | "FAIL" => return refused(),
            "CAP" if !params.contains(" ACK ") => return refused(),
            "KICK" if params.split(' ').nth(1) == Some(&nick(&self.seat)) => return refused(),
            error if error.starts_with(['4', '5']) && error.len() == 3 => return refused(),
            // Another's words to the room, or the server's.
            "PRIVMSG" | "NOTICE" | "JOIN" | "PART" | "QUIT" | "MODE" | "TOPIC" | "CAP" | "KICK" => {}
            number if number.parse::<u16>().is_ok() => {}
            _ => return Err(SpeakError::broken(format!("an unexpected line of {source}'s: {rest}"))),
        }
        Ok(())
    }
}

/// A nick is unique among all connections, a member's name in its room only.
fn nick(seat: &SpeakerSeat) -> String {
    format!("{}-{}", seat.name, seat.room)
}

impl LoadSpeaker for IrcMember {
    fn greet(&mut self, out: &mut Vec<u8>) {
        let (before, behind) =
            if self.echoes { ("CAP REQ :echo-message\r\n", "CAP END\r\n") } else { ("", "") };
        let nick = nick(&self.seat);
        let words = format!("{before}NICK {nick}\r\nUSER bench 0 * :bench\r\n{behind}");
        out.extend_from_slice(words.as_bytes());
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let text_bytes = self.seat.text_bytes;
        let mut at = 0;
        while let Some(length) = memchr(b'\n', &input[at..]) {
            let line = &input[at..at + length];
            at += length + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line.len().checked_sub(text_bytes) {
                Some(head) if line[..head].ends_with(self.before_text.as_bytes()) => deliver(&line[head..]),
                _ => self.line(&String::from_utf8_lossy(line), out)?,
            }
        }
        match input.len() - at {
            ..=LINE_BYTES_MAX => Ok(at),
            _ => Err(SpeakError::broken("a line without an end")),
        }
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before_text.as_bytes()[1..]);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> IrcMember {
        IrcMember::new(seat(), true)
    }

    fn seat() -> SpeakerSeat {
        SpeakerSeat { room: "r".into(), name: "m0".into(), talks: true, text_bytes: 4 }
    }

    fn read(member: &mut IrcMember, input: &[u8]) -> Result<(usize, Vec<u8>, Vec<String>), SpeakError> {
        let (mut out, mut texts) = (Vec::new(), Vec::new());
        let used = member.read(input, &mut out, &mut |text| {
            texts.push(String::from_utf8(text.to_vec()).expect("text"));
        })?;
        Ok((used, out, texts))
    }

    #[test]
    fn lines_are_read_wherever_the_stream_is_cut() {
        let input = b":s.local CAP * ACK :echo-message\r\n:s.local 001 m0-r :Welcome\r\n\
                      :s.local 422 m0-r :MOTD File is missing\r\n\
                      :m0-r!member@s.local JOIN #r\r\n:s.local 353 m0-r = #r :m0-r m1-r\r\nPING :x y\r\n\
                      :s.local 366 m0-r #r :End of /NAMES list\r\n:m1-r!member@s.local PRIVMSG #r :abcd\r\n\
                      :m1-r!member@s.local PRIVMSG #other :1234\r\n:m1-r!member@s.local PRIVMSG #r :no\r\n\
                      :m1-r!member@s.local PRIVMSG #r : PRIVMSG #r :much longer\r\n\
                      :m0-r!member@s.local PRIVMSG #r :efgh\r\n:m1-r!member@s.local PART #r\r\n";
        for cut in 0..input.len() {
            let mut member = member();
            let (used, mut out, mut texts) = read(&mut member, &input[..cut]).unwrap();
            let (rest, more_out, more_texts) = read(&mut member, &input[used..]).unwrap();
            assert_eq!(used + rest, input.len());
            out.extend(more_out);
            texts.extend(more_texts);
            assert_eq!(out, b"JOIN #r\r\nPONG :x y\r\n");
            assert_eq!(texts, ["abcd", "efgh"]);
            assert!(member.is_ready());
        }
    }

    #[test]
    fn what_is_said_is_what_a_client_would_send() {
        let (mut member, mut out) = (member(), Vec::new());
        member.greet(&mut out);
        member.say(b"abcd", &mut out);
        let expected =
            "CAP REQ :echo-message\r\nNICK m0-r\r\nUSER bench 0 * :bench\r\nCAP END\r\nPRIVMSG #r :abcd\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// As InspIRCd and ngIRCd say it: both have a message of the day or none, and colons where ours has none.
    #[test]
    fn other_servers_are_understood() {
        let input = b":irc.local 001 m0-r :Welcome to the Internet Relay Network m0-r!~bench@127.0.0.1\r\n\
                      :irc.local 005 m0-r AWAYLEN=200 CASEMAPPING=rfc1459 :are supported by this server\r\n\
                      :irc.local 253 m0-r 1 :unknown connections\r\n:irc.local 375 m0-r :- message of the day\r\n\
                      :irc.local 376 m0-r :End of MOTD command\r\n:m0-r!~bench@127.0.0.1 JOIN :#r\r\n\
                      :irc.local 353 m0-r = #r :@m0-r\r\n:irc.local 366 m0-r #r :End of NAMES list\r\n\
                      :m1-r!~bench@127.0.0.1 JOIN :#r\r\n:m1-r!~bench@127.0.0.1 PRIVMSG #r :abcd\r\n";
        let (mut member, mut greeting) = (IrcMember::new(seat(), false), Vec::new());
        member.greet(&mut greeting);
        assert_eq!(greeting, b"NICK m0-r\r\nUSER bench 0 * :bench\r\n");
        let (used, out, texts) = read(&mut member, input).unwrap();
        assert_eq!((used, &out[..], texts), (input.len(), &b"JOIN #r\r\n"[..], vec!["abcd".to_owned()]));
        assert!(member.is_ready());
        assert!(!Irc::elsewhere(false).echoes());
    }

    #[test]
    fn a_member_that_cannot_talk_or_listen_says_why() {
        let refusals = [
            ":s.local 433 * m0-r :Nickname is already in use",
            ":s.local CAP * NAK :echo-message",
            ":s.local 404 m0-r #r :Cannot send to channel",
            ":s.local KICK #r m0-r :the room was closed",
            ":s.local FAIL * INVALID_UTF8 :Message rejected",
            "ERROR :The server is shutting down",
        ];
        for line in refusals {
            let error = read(&mut member(), format!("{line}\r\n").as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("the server says: {line}"));
        }
        let error = read(&mut member(), b":s.local WHAT now\r\n").unwrap_err().to_string();
        assert!(error.contains("an unexpected line of s.local's: WHAT now"), "{error}");
        let error = read(&mut member(), &[b'x'; LINE_BYTES_MAX + 1]).unwrap_err().to_string();
        assert!(error.contains("a line without an end"), "{error}");
    }
}
