//! IRC clients on real sockets: exact lines, each with the document that has it.
//!
//! [Modern]: modern.ircdocs.horse; [RFC2812]; [IRCv3, name]: ircv3.net/specs.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use causerie_core::content::body::Body;
use causerie_server::{IrcSettings, Settings};
use causerie_store::{Change, MemoryStore, RoomId, RoomRow, Store as _};
use cbcast::MessageId;
use common::{Classic, Event, Harness, Native, within};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const SERVER: &str = "causerie.local";
/// For the hash of this machine's address, which is another in each run.
const HOST: &str = "an.address";

/// What IRCv3 clients ask for.
const ALL: &str = "account-notify away-notify batch cap-notify draft/chathistory draft/event-playback \
    draft/message-redaction draft/multiline draft/read-marker echo-message extended-join labeled-response \
    message-tags multi-prefix server-time setname standard-replies";

struct Irc {
    stream: BufReader<TcpStream>,
    nick: String,
}

impl Irc {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), nick: "*".into() }
    }

    /// Registered, and the greeting read.
    async fn enter(address: SocketAddr, nick: &str) -> Self {
        Self::enter_with(address, nick, "").await
    }

    async fn enter_with(address: SocketAddr, nick: &str, capabilities: &str) -> Self {
        let mut irc = Self::connect(address).await;
        if !capabilities.is_empty() {
            irc.send(&format!("CAP REQ :{capabilities}")).await;
            let line = irc.line().await;
            assert!(line.starts_with(&format!(":{SERVER} CAP * ACK :")), "{line}");
        }
        irc.send(&format!("NICK {nick}")).await;
        irc.send(&format!("USER {nick} 0 * :The real {nick}")).await;
        if !capabilities.is_empty() {
            irc.send("CAP END").await;
        }
        irc.nick = nick.into();
        irc.until(&format!(":{SERVER} 422 {nick} :MOTD File is missing")).await;
        irc
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        within("sending", self.stream.write_all(bytes)).await.unwrap();
    }

    async fn send(&mut self, line: &str) {
        self.bytes(format!("{line}\r\n").as_bytes()).await;
    }

    /// The next line without its end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line", self.stream.read_line(&mut line)).await.unwrap();
        while let Some(end) = line.find(".hidden") {
            line.replace_range(end - 12..end + ".hidden".len(), HOST);
        }
        // What is told of a connection by TLS only.
        if common::tunnel::is_used() && line.contains(" 671 ") {
            return Box::pin(self.line()).await;
        }
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("the connection ended behind {line:?}")).to_owned()
    }

    async fn expect(&mut self, line: &str) {
        assert_eq!(self.line().await, line);
    }

    /// A numeric to this client.
    async fn numeric(&mut self, number: &str, rest: &str) {
        let line = format!(":{SERVER} {number} {} {rest}", self.nick);
        self.expect(&line).await;
    }

    /// The lines before this one.
    async fn until(&mut self, line: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.line().await {
                next if next == line => return before,
                next => before.push(next),
            }
        }
    }

    /// The answer to this, and whether there was nothing else before it.
    async fn ask(&mut self, line: &str, number: &str, rest: &str) {
        self.send(line).await;
        self.numeric(number, rest).await;
    }

    /// In a room, with all that is told of it read.
    async fn join(&mut self, room: &str) {
        self.send(&format!("JOIN #{room}")).await;
        let end = format!(":{SERVER} 366 {} #{room} :End of /NAMES list", self.nick);
        let before = self.until(&end).await;
        assert!(before[0].contains(&format!("JOIN #{room}")), "{before:?}");
    }

    /// Nothing else was to be told: everything so far has been read.
    async fn quiet(&mut self) {
        self.send("PING :quiet?").await;
        self.expect(&format!(":{SERVER} PONG {SERVER} :quiet?")).await;
    }

    async fn ended(&mut self) -> String {
        let mut rest = String::new();
        within("the end", self.stream.read_to_string(&mut rest)).await.unwrap();
        rest
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("it is later").as_secs()
}

/// A server that takes lines as fast as they come.
async fn unlimited() -> Harness {
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    Harness::start(Settings { irc, ..Settings::default() }).await
}

/// The value of a tag, and the line behind the tags.
fn untagged<'a>(line: &'a str, key: &str) -> (Option<&'a str>, &'a str) {
    let Some((tags, rest)) = line.strip_prefix('@').and_then(|line| line.split_once(' ')) else {
        return (None, line);
    };
    let tag = tags.split(';').find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='));
    (tag, rest)
}

/// What stands before the words of a client that has entered by that nick.
fn source(nick: &str) -> String {
    renamed(nick, nick)
}

/// The same once it has another nick.
fn renamed(from: &str, nick: &str) -> String {
    format!("{nick}!~{from}@{HOST}")
}

/// What stands before the words of a member without an IRC client.
fn elsewhere(nick: &str) -> String {
    format!("{nick}!{nick}@{SERVER}")
}

// [Modern, Connection Registration] and [Modern, RPL_ISUPPORT].
#[tokio::test(flavor = "multi_thread")]
async fn the_greeting_line_by_line() {
    let server = Harness::start(Settings::default()).await;
    let mut ann = Irc::connect(server.address).await;
    ann.send("NICK Ann").await;
    ann.send("USER ann 0 * :Ann Onymous").await;
    ann.nick = "Ann".into();
    let version = concat!("causerie-", env!("CARGO_PKG_VERSION"));
    ann.numeric("001", ":Welcome to the Causerie Network, Ann").await;
    ann.numeric("002", &format!(":Your host is {SERVER}, running version {version}")).await;
    let created = ann.line().await;
    assert!(created.starts_with(&format!(":{SERVER} 003 Ann :This server was started 20")), "{created}");
    ann.numeric("004", &format!("{SERVER} {version} i n")).await;
    ann.numeric(
        "005",
        "AWAYLEN=300 CASEMAPPING=ascii CHANLIMIT=#:100 CHANMODES=,,,n CHANNELLEN=51 CHANTYPES=# CHATHISTORY=100 \
         CLIENTTAGDENY=*,-reply,-draft/reply,-draft/react,-draft/unreact MODES=1 MSGREFTYPES=msgid,timestamp \
         :are supported by this server",
    )
    .await;
    ann.numeric(
        "005",
        "NAMELEN=150 NETWORK=Causerie NICKLEN=32 PREFIX=(ov)@+ SAFELIST \
         TARGMAX=JOIN:,NAMES:,NOTICE:4,PART:,PRIVMSG:4,WHOIS:1 TOPICLEN=390 USERLEN=16 UTF8ONLY WHOX \
         :are supported by this server",
    )
    .await;
    ann.numeric("251", ":There are 1 users and 0 invisible on 1 servers").await;
    ann.numeric("252", "0 :operator(s) online").await;
    ann.numeric("254", "0 :channels formed").await;
    ann.numeric("255", ":I have 1 clients and 0 servers").await;
    ann.numeric("265", ":Current local users 1").await;
    ann.numeric("266", ":Current global users 1").await;
    ann.numeric("422", ":MOTD File is missing").await;
    ann.send("QUIT :so long").await;
    ann.expect("ERROR :Closing link: so long").await;
    assert_eq!(ann.ended().await, "");
    server.stop().await;
}

// What irssi 1.4 sends: a join of nothing before it says who it is, and NICK and USER behind CAP END only.
#[tokio::test(flavor = "multi_thread")]
async fn irssis_first_words() {
    let server = Harness::start(Settings::default()).await;
    let mut irssi = Irc::connect(server.address).await;
    irssi.bytes(b"CAP LS 302\r\n").await;
    irssi.bytes(b"JOIN :\r\n").await;
    let offered = irssi.line().await;
    let expected = format!(
        ":{SERVER} CAP * LS :{}",
        ALL.replace("multiline", "multiline=max-bytes=16384,max-lines=100")
    );
    assert_eq!(offered, expected);
    irssi.numeric("451", ":You have not registered").await;
    irssi.bytes(b"CAP REQ :multi-prefix extended-join setname server-time\r\n").await;
    irssi.expect(&format!(":{SERVER} CAP * ACK :multi-prefix extended-join setname server-time")).await;
    irssi.bytes(b"CAP END\r\nNICK irssi\r\nUSER irssi irssi 127.0.0.1 :irssi\r\n").await;
    irssi.nick = "irssi".into();
    irssi.numeric("001", ":Welcome to the Causerie Network, irssi").await;
    irssi.until(&format!(":{SERVER} 422 irssi :MOTD File is missing")).await;
    irssi.send("MODE irssi +i").await;
    irssi.expect(&format!(":{} MODE irssi :+i", source("irssi"))).await;
    // The join of nothing may also come first of all.
    let mut other = Irc::connect(server.address).await;
    other.bytes(b"JOIN :\r\n").await;
    other.numeric("451", ":You have not registered").await;
    server.stop().await;
}

// What senpai sends: one request for each capability, also for some that are not offered, and a label on everything.
#[tokio::test(flavor = "multi_thread")]
async fn senpais_first_words() {
    let server = Harness::start(Settings::default()).await;
    let mut other = Native::join(server.address, "lobby", "Raj").await;
    other.say("hello").await;
    other.event().await;
    let mut senpai = Irc::connect(server.address).await;
    senpai.bytes(b"CAP LS 302\r\nNICK sen\r\nUSER sen 0 * :Sen\r\n").await;
    senpai.line().await;
    for (name, offered) in [
        ("sasl", false),
        ("labeled-response", true),
        ("batch", true),
        ("message-tags", true),
        ("server-time", true),
        ("echo-message", true),
        ("draft/chathistory", true),
        ("draft/read-marker", true),
        ("soju.im/search", false),
    ] {
        senpai.send(&format!("CAP REQ {name}")).await;
        let word = if offered { "ACK" } else { "NAK" };
        senpai.expect(&format!(":{SERVER} CAP sen {word} :{name}")).await;
    }
    senpai.send("CAP END").await;
    senpai.nick = "sen".into();
    senpai.until(&format!(":{SERVER} 422 sen :MOTD File is missing")).await;
    senpai.send("@label=a1 JOIN #lobby").await;
    senpai.expect(&format!("@label=a1 :{SERVER} BATCH +1 labeled-response")).await;
    senpai.expect(&format!("@batch=1 :{} JOIN #lobby", source("sen"))).await;
    senpai.expect(&format!("@batch=1 :{SERVER} MARKREAD #lobby *")).await;
    senpai.expect(&format!("@batch=1 :{SERVER} 353 sen = #lobby :Raj sen")).await;
    senpai.expect(&format!("@batch=1 :{SERVER} 366 sen #lobby :End of /NAMES list")).await;
    senpai.expect(&format!(":{SERVER} BATCH -1")).await;
    senpai.send("@label=a2 CHATHISTORY LATEST #lobby * 100").await;
    senpai.expect(&format!("@label=a2 :{SERVER} BATCH +2 chathistory #lobby")).await;
    let said = senpai.line().await;
    assert!(said.ends_with(&format!(":{} PRIVMSG #lobby :hello", elsewhere("Raj"))), "{said}");
    let (time, _) = untagged(&said, "time");
    let time = time.expect("its time").to_owned();
    senpai.expect(&format!(":{SERVER} BATCH -2")).await;
    senpai.send("@label=a3 CHATHISTORY TARGETS timestamp=2001-01-01T00:00:00.000Z timestamp=2100-01-01T00:00:00.000Z 9").await;
    senpai.expect(&format!("@label=a3 :{SERVER} BATCH +3 draft/chathistory-targets")).await;
    senpai.expect(&format!("@batch=3 :{SERVER} CHATHISTORY TARGETS #lobby {time}")).await;
    senpai.expect(&format!(":{SERVER} BATCH -3")).await;
    senpai.send(&format!("@label=a4 MARKREAD #lobby timestamp={time}")).await;
    senpai.expect(&format!("@label=a4 :{SERVER} MARKREAD #lobby timestamp={time}")).await;
    senpai.send("@label=a5 PONG x").await;
    senpai.expect(&format!("@label=a5 :{SERVER} ACK")).await;
    senpai.send("@label=a6 PRIVMSG #lobby :hi").await;
    let echo = senpai.line().await;
    assert_eq!(untagged(&echo, "label"), (Some("a6"), &format!(":{} PRIVMSG #lobby :hi", source("sen"))[..]));
    server.stop().await;
}

// [Modern, Client Messages]: what is wrong is told by the right numeric.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() {
    let server = unlimited().await;
    let mut ann = Irc::connect(server.address).await;
    ann.ask("NICK ", "431", ":No nickname given").await;
    ann.ask("NICK a!b", "432", "a!b :Erroneous nickname").await;
    ann.ask("NICK #ann", "432", "#ann :Erroneous nickname").await;
    ann.ask("USER a", "461", "USER :Not enough parameters").await;
    ann.ask("LIST", "451", ":You have not registered").await;
    ann.ask("CAP FOO", "410", "FOO :Invalid CAP command").await;
    ann.ask("CAP", "461", "CAP :Not enough parameters").await;
    drop(ann);
    let mut ann = Irc::enter(server.address, "Ann").await;
    let mut bob = Irc::connect(server.address).await;
    bob.send("USER bob 0 * :Bob").await;
    // In any case, and before the other has a room.
    bob.ask("NICK ANN", "433", "ANN :Nickname is already in use").await;
    bob.send("NICK Bob").await;
    bob.nick = "Bob".into();
    bob.until(&format!(":{SERVER} 422 Bob :MOTD File is missing")).await;
    bob.join("lobby").await;
    for (line, number, rest) in [
        ("USER a 0 * :a", "462", ":You may not reregister"),
        ("PASS a", "462", ":You may not reregister"),
        ("PING", "461", "PING :Not enough parameters"),
        ("FOO bar", "421", "FOO :Unknown command"),
        ("TAGMSG #lobby", "421", "TAGMSG :Unknown command"),
        ("JOIN", "461", "JOIN :Not enough parameters"),
        ("JOIN lobby", "403", "lobby :No such channel"),
        ("JOIN #a/b", "403", "#a/b :the name of a room has only letters, digits, '-', '_' and '.', not '/'"),
        ("PART", "461", "PART :Not enough parameters"),
        ("PART #nowhere", "403", "#nowhere :No such channel"),
        ("PART #lobby", "442", "#lobby :You're not on that channel"),
        ("TOPIC", "461", "TOPIC :Not enough parameters"),
        ("TOPIC #nowhere", "403", "#nowhere :No such channel"),
        ("TOPIC #lobby", "331", "#lobby :No topic is set"),
        ("TOPIC #lobby :x", "442", "#lobby :You're not on that channel"),
        ("NAMES", "366", "* :End of /NAMES list"),
        ("NAMES #nowhere", "366", "#nowhere :End of /NAMES list"),
        ("PRIVMSG", "411", ":No recipient given (PRIVMSG)"),
        ("PRIVMSG #lobby :", "412", ":No text to send"),
        ("PRIVMSG #lobby :x", "404", "#lobby :Cannot send to channel: you are not in it"),
        ("PRIVMSG #nowhere :x", "403", "#nowhere :No such channel"),
        ("PRIVMSG nobody :x", "401", "nobody :No such nick/channel"),
        ("PRIVMSG a,b,c,d,e :x", "407", "a :Too many targets"),
        ("MODE", "461", "MODE :Not enough parameters"),
        ("MODE Ann", "221", "+"),
        ("MODE Ann +x", "501", ":Unknown MODE flag"),
        ("MODE Bob", "502", ":Cant change mode for other users"),
        ("MODE nobody", "401", "nobody :No such nick/channel"),
        ("MODE #lobby b", "368", "#lobby :End of channel ban list"),
        ("MODE #lobby +b", "368", "#lobby :End of channel ban list"),
        ("MODE #lobby -n", "482", "#lobby :Rooms have no operators"),
        ("MODE #lobby +x Ann", "472", "x :is unknown mode char to me"),
        ("MODE #nowhere", "403", "#nowhere :No such channel"),
        ("KICK #lobby Bob", "442", "#lobby :You're not on that channel"),
        ("INVITE Bob #lobby", "442", "#lobby :You're not on that channel"),
        ("OPER a b", "491", ":There are no operators by IRC"),
        ("WHO nobody", "315", "nobody :End of WHO list"),
        ("WHO", "461", "WHO :Not enough parameters"),
        ("WHOIS", "431", ":No nickname given"),
        ("ADMIN", "423", "causerie.local :No administrative info available"),
        ("ISON Bob nobody ann", "303", ":Bob ann"),
        ("USERHOST bob", "302", ":Bob=+~bob@an.address"),
        ("MOTD", "422", ":MOTD File is missing"),
        ("AWAY :lunch", "306", ":You have been marked as being away"),
        ("AWAY", "305", ":You are no longer marked as being away"),
    ] {
        ann.ask(line, number, rest).await;
    }
    ann.ask("WHOIS nobody", "401", "nobody :No such nick/channel").await;
    ann.numeric("318", "nobody :End of /WHOIS list").await;
    ann.ask("WHOWAS nobody", "406", "nobody :There was no such nickname").await;
    ann.numeric("369", "nobody :End of WHOWAS").await;
    ann.quiet().await;
    bob.quiet().await;
    server.stop().await;
}

// [Modern, JOIN, NAMES, LIST, WHO, WHOIS, TOPIC, PART].
#[tokio::test(flavor = "multi_thread")]
async fn a_room_from_joining_to_leaving() {
    let server = Harness::start(Settings::default()).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    ann.send("JOIN #lobby").await;
    ann.expect(&format!(":{} JOIN #lobby", source("Ann"))).await;
    ann.numeric("353", "= #lobby :Ann").await;
    ann.numeric("366", "#lobby :End of /NAMES list").await;
    let mut bob = Irc::enter_with(server.address, "Bob", "extended-join away-notify setname").await;
    bob.send("JOIN #lobby").await;
    bob.expect(&format!(":{} JOIN #lobby * :The real Bob", source("Bob"))).await;
    bob.numeric("353", "= #lobby :Ann Bob").await;
    bob.numeric("366", "#lobby :End of /NAMES list").await;
    ann.expect(&format!(":{} JOIN #lobby", source("Bob"))).await;
    // It is the same channel.
    ann.send("JOIN #LOBBY").await;
    ann.send("PRIVMSG #Lobby :hello").await;
    bob.expect(&format!(":{} PRIVMSG #lobby :hello", source("Ann"))).await;
    bob.send("PRIVMSG #lobby :\u{1}ACTION waves\u{1}").await;
    ann.expect(&format!(":{} PRIVMSG #lobby :\u{1}ACTION waves\u{1}", source("Bob"))).await;
    ann.send("NOTICE #lobby :look").await;
    bob.expect(&format!(":{} NOTICE #lobby :look", source("Ann"))).await;
    ann.send("TOPIC #lobby :the weather").await;
    for client in [&mut ann, &mut bob] {
        client.expect(&format!(":{} TOPIC #lobby :the weather", source("Ann"))).await;
    }
    ann.ask("TOPIC #lobby", "332", "#lobby :the weather").await;
    let (set, now) = (ann.line().await, seconds());
    let at = set.strip_prefix(&format!(":{SERVER} 333 Ann #lobby Ann ")).and_then(|at| at.parse().ok());
    assert!(at.is_some_and(|at: u64| (now - 60..=now).contains(&at)), "{set} at {now}");
    ann.ask("MODE #lobby", "324", "#lobby +n").await;
    let made = ann.line().await;
    let at = made.strip_prefix(&format!(":{SERVER} 329 Ann #lobby ")).and_then(|at| at.parse().ok());
    assert!(at.is_some_and(|at: u64| (now - 60..=now).contains(&at)), "{made} at {now}");
    ann.ask("LIST", "321", "Channel :Users  Name").await;
    ann.numeric("322", "#lobby 2 :the weather").await;
    ann.numeric("323", ":End of /LIST").await;
    ann.send("AWAY :lunch").await;
    ann.numeric("306", ":You have been marked as being away").await;
    bob.expect(&format!(":{} AWAY :lunch", source("Ann"))).await;
    bob.ask("WHO #lobby", "352", &format!("#lobby ~Ann {HOST} {SERVER} Ann G :0 The real Ann")).await;
    bob.numeric("352", &format!("#lobby ~Bob {HOST} {SERVER} Bob H :0 The real Bob")).await;
    bob.numeric("315", "#lobby :End of WHO list").await;
    bob.ask("WHO ann %tcuhnfar,42", "354", &format!("42 #lobby ~Ann {HOST} Ann G 0 :The real Ann")).await;
    bob.numeric("315", "ann :End of WHO list").await;
    bob.ask("WHOIS ann", "311", &format!("Ann ~Ann {HOST} * :The real Ann")).await;
    bob.numeric("319", "Ann :#lobby").await;
    bob.numeric("312", &format!("Ann {SERVER} :Causerie")).await;
    bob.numeric("301", "Ann :lunch").await;
    let idle = bob.line().await;
    assert!(idle.starts_with(&format!(":{SERVER} 317 Bob Ann ")), "{idle}");
    bob.numeric("318", "ann :End of /WHOIS list").await;
    bob.send("SETNAME :Robert").await;
    bob.expect(&format!(":{} SETNAME :Robert", source("Bob"))).await;
    // In the room a member has one name, so one leaves and another comes; IRC clients are told what that is.
    bob.send("NICK Rob").await;
    bob.expect(&format!(":{} NICK :Rob", source("Bob"))).await;
    ann.expect(&format!(":{} NICK :Rob", source("Bob"))).await;
    bob.nick = "Rob".into();
    bob.send("PRIVMSG #lobby :still here").await;
    ann.expect(&format!(":{} PRIVMSG #lobby :still here", renamed("Bob", "Rob"))).await;
    bob.send("PART #lobby :that is all").await;
    bob.expect(&format!(":{} PART #lobby :that is all", renamed("Bob", "Rob"))).await;
    ann.expect(&format!(":{} PART #lobby :that is all", renamed("Bob", "Rob"))).await;
    bob.join("lobby").await;
    ann.expect(&format!(":{} JOIN #lobby", renamed("Bob", "Rob"))).await;
    drop(bob);
    ann.expect(&format!(":{} QUIT :Connection closed", renamed("Bob", "Rob"))).await;
    ann.quiet().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_other_members_and_of_rooms() {
    let server = Harness::start(Settings::default()).await;
    let mut raj = Irc::enter(server.address, "raj").await;
    let _raj = Native::join(server.address, "lobby", "Raj").await;
    let _ann = Native::join(server.address, "garden", "Ann").await;
    let mut lee = Native::join(server.address, "Hall", "Ann Lee").await;
    let mut bob = Irc::enter(server.address, "bob").await;
    bob.ask("NICK RAJ", "433", "RAJ :Nickname is already in use").await;
    bob.ask("NICK ａnn", "433", "ａnn :Nickname reads like Ann, which is in use").await;
    raj.ask("JOIN #lobby", "437", "#lobby :Cannot join channel: somebody in it is called Raj already").await;
    // The same channel, by other letters.
    raj.send("JOIN #hall").await;
    raj.expect(&format!(":{} JOIN #Hall", source("raj"))).await;
    raj.numeric("353", "= #Hall :Ann_Lee raj").await;
    raj.numeric("366", "#Hall :End of /NAMES list").await;
    lee.event().await;
    lee.say("hi").await;
    raj.expect(&format!(":{} PRIVMSG #Hall :hi", elsewhere("Ann_Lee"))).await;
    server.stop().await;
}

/// The msgid of a line that reads like this behind its tags.
async fn id_of(irc: &mut Irc, expected: &str) -> String {
    let line = irc.line().await;
    let (id, rest) = untagged(&line, "msgid");
    assert_eq!(rest, expected);
    id.expect("a msgid").to_owned()
}

// [IRCv3, message-tags, message-ids, server-time, echo-message, labeled-response, reply, react, message-redaction].
#[tokio::test(flavor = "multi_thread")]
async fn replies_reactions_and_deletions_both_ways() {
    let server = unlimited().await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut plain = Irc::enter(server.address, "plain").await;
    plain.join("lobby").await;
    let mut ann = Irc::enter_with(server.address, "Ann", ALL).await;
    ann.send("JOIN #lobby").await;
    ann.until(&format!(":{SERVER} 366 Ann #lobby :End of /NAMES list")).await;
    plain.expect(&format!(":{} JOIN #lobby", source("Ann"))).await;

    raj.expect(Event::Joined("plain".into())).await;
    raj.expect(Event::Joined("Ann".into())).await;
    raj.say("question?").await;
    raj.event().await;
    let question = MessageId::new(raj.member, 1);
    let id = id_of(&mut ann, &format!(":{} PRIVMSG #lobby :question?", elsewhere("Raj"))).await;
    plain.expect(&format!(":{} PRIVMSG #lobby :question?", elsewhere("Raj"))).await;
    assert!(id.ends_with(&format!("/{question}")), "{id}");

    ann.send(&format!("@+draft/reply={id};label=x PRIVMSG #lobby :answer")).await;
    let echo = ann.line().await;
    assert_eq!(untagged(&echo, "+draft/reply").0, Some(&id[..]));
    let (label, rest) = untagged(&echo, "label");
    assert_eq!((label, rest), (Some("x"), &format!(":{} PRIVMSG #lobby :answer", source("Ann"))[..]));
    let answer = untagged(&echo, "msgid").0.expect("a msgid").to_owned();
    plain.expect(&format!(":{} PRIVMSG #lobby :(to Raj: \"question?\") answer", source("Ann"))).await;
    let Event::Other(said) = raj.event().await else { panic!() };
    assert_eq!(Body::decode(&said), Body::Reply { to: question, text: "answer".into() });

    ann.send(&format!("@+draft/react=\u{1f44d};+draft/reply={id} TAGMSG #lobby")).await;
    let echo = ann.line().await;
    assert_eq!(
        untagged(&echo, "+draft/react"),
        (Some("\u{1f44d}"), &format!(":{} TAGMSG #lobby", source("Ann"))[..])
    );
    plain.expect(&format!(":{} PRIVMSG #lobby :(\u{1f44d} to Raj: \"question?\")", source("Ann"))).await;
    let Event::Other(said) = raj.event().await else { panic!() };
    assert_eq!(Body::decode(&said), Body::Reaction { to: question, symbol: "\u{1f44d}".into(), set: true });

    raj.send(&Body::Edit { of: question, text: "question!".into() }).await;
    raj.event().await;
    id_of(
        &mut ann,
        &format!(":{} PRIVMSG #lobby :(corrects an earlier message) question!", elsewhere("Raj")),
    )
    .await;
    plain.line().await;

    ann.send(&format!("REDACT #lobby {id}")).await;
    let why = format!(
        ":{SERVER} FAIL REDACT REDACT_FORBIDDEN #lobby {id} :You are not authorized to delete this message"
    );
    ann.expect(&why).await;
    ann.send("REDACT #lobby 77/0.1#1").await;
    ann.expect(&format!(":{SERVER} FAIL REDACT UNKNOWN_MSGID #lobby 77/0.1#1 :There is no such message"))
        .await;
    ann.send(&format!("REDACT #lobby {answer}")).await;
    id_of(&mut ann, &format!(":{} REDACT #lobby {answer}", source("Ann"))).await;
    plain.expect(&format!(":{} PRIVMSG #lobby :(takes back an earlier message)", source("Ann"))).await;
    ann.send("PRIVMSG #lobby :\u{1}VERSION\u{1}").await;
    ann.numeric("404", "#lobby :Cannot send to channel: of CTCP only ACTION is known here").await;
    server.stop().await;
}

// [IRCv3, multiline].
#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_split_and_joined_again() {
    let server = unlimited().await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut plain = Irc::enter(server.address, "plain").await;
    plain.join("lobby").await;
    let mut ann = Irc::enter_with(server.address, "Ann", ALL).await;
    ann.send("JOIN #lobby").await;
    ann.until(&format!(":{SERVER} 366 Ann #lobby :End of /NAMES list")).await;
    plain.line().await;
    raj.event().await;
    raj.event().await;
    let text = format!("first\n\n{}", "\u{1f468}\u{200d}\u{1f469} ".repeat(120));
    raj.say(&text).await;
    raj.event().await;
    let start = ann.line().await;
    let (_, rest) = untagged(&start, "msgid");
    let name =
        rest.strip_prefix(&format!(":{} BATCH +", elsewhere("Raj"))).and_then(|rest| rest.split_once(' '));
    let (name, rest) = name.expect("a batch");
    assert_eq!(rest, "draft/multiline #lobby");
    let mut again: Option<String> = None;
    loop {
        let line = ann.line().await;
        if line == format!(":{SERVER} BATCH -{name}") {
            break;
        }
        assert!(untagged(&line, "x").1.len() <= 510, "{line}");
        let text =
            untagged(&line, "x").1.strip_prefix(&format!(":{} PRIVMSG #lobby :", elsewhere("Raj"))).unwrap();
        match (&mut again, line.contains("draft/multiline-concat")) {
            (Some(again), true) => again.push_str(text),
            (Some(again), false) => *again += &format!("\n{text}"),
            (none, _) => *none = Some(text.to_owned()),
        }
    }
    assert_eq!(again.as_deref(), Some(&text[..]));
    // Without it, line by line, and never inside a character.
    plain.expect(&format!(":{} PRIVMSG #lobby :first", elsewhere("Raj"))).await;
    let mut rest = String::new();
    while rest.len() < text.len() - "first\n\n".len() {
        let line = plain.line().await;
        let piece = line.strip_prefix(&format!(":{} PRIVMSG #lobby :", elsewhere("Raj"))).unwrap();
        assert!(piece.starts_with('\u{1f468}') && piece.ends_with("\u{1f469} "), "{piece}");
        rest.push_str(piece);
    }

    ann.send("@label=m BATCH +1 draft/multiline #lobby").await;
    ann.send("@batch=1 PRIVMSG #lobby :one").await;
    ann.send("@batch=1 PRIVMSG #lobby :two ").await;
    ann.send("@batch=1;draft/multiline-concat PRIVMSG #lobby :three").await;
    ann.send("BATCH -1").await;
    let Event::Text(_, said) = raj.event().await else { panic!() };
    assert_eq!(said, "one\ntwo three");
    let start = ann.line().await;
    assert_eq!(untagged(&start, "label").0, Some("m"), "{start}");
    for _ in 0..3 {
        ann.line().await;
    }
    for (lines, why) in [
        (
            vec!["@batch=2 PRIVMSG #lobby :a", "@batch=2 PRIVMSG #other :b"],
            "MULTILINE_INVALID_TARGET #lobby #other :The batch has another target",
        ),
        (vec!["@batch=2 TOPIC #lobby :a"], "MULTILINE_INVALID :That does not belong into the batch"),
        (vec![], "MULTILINE_INVALID :There is no text in the batch"),
        (vec!["@batch=2 PRIVMSG #lobby :a"; 101], "MULTILINE_MAX_LINES 100 :The text has too many lines"),
    ] {
        ann.send("BATCH +2 draft/multiline #lobby").await;
        for line in lines {
            ann.send(line).await;
        }
        ann.send("BATCH -2").await;
        ann.expect(&format!(":{SERVER} FAIL BATCH {why}")).await;
    }
    ann.quiet().await;
    server.stop().await;
}

// [Modern, QUIT; NICK]: what somebody does in all its rooms is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_nick_and_a_farewell_are_told_once() {
    let server = unlimited().await;
    let (mut ann, mut bob) =
        (Irc::enter(server.address, "Ann").await, Irc::enter(server.address, "Bob").await);
    for room in ["one", "two", "three"] {
        ann.join(room).await;
        bob.join(room).await;
        ann.line().await;
    }
    ann.ask("INVITE Bob #one", "443", "Bob #one :is already on channel").await;
    bob.send("NICK Rob").await;
    ann.expect(&format!(":{} NICK :Rob", source("Bob"))).await;
    bob.expect(&format!(":{} NICK :Rob", source("Bob"))).await;
    for room in ["one", "two", "three"] {
        bob.send(&format!("PRIVMSG #{room} :hi")).await;
        ann.expect(&format!(":{} PRIVMSG #{room} :hi", renamed("Bob", "Rob"))).await;
    }
    bob.send("PART #one").await;
    ann.expect(&format!(":{} PART #one", renamed("Bob", "Rob"))).await;
    ann.ask("INVITE rob #one", "341", "Rob #one").await;
    bob.expect(&format!(":{} PART #one", renamed("Bob", "Rob"))).await;
    bob.expect(&format!(":{} INVITE Rob #one", source("Ann"))).await;
    bob.send("QUIT :so long").await;
    ann.expect(&format!(":{} QUIT :Quit: so long", renamed("Bob", "Rob"))).await;
    // Whoever comes by that nick then is somebody else, and is told of.
    let mut next = Irc::enter(server.address, "Rob").await;
    next.join("three").await;
    ann.expect(&format!(":{} JOIN #three", source("Rob"))).await;
    drop(next);
    ann.expect(&format!(":{} QUIT :Connection closed", source("Rob"))).await;
    ann.quiet().await;
    server.stop().await;
}

// What was said meanwhile, and nothing that has been seen; across restarts, too.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_is_shown_what_it_has_missed() {
    let store = Arc::new(MemoryStore::new());
    let irc = IrcSettings { lines_per_second: 0, history: 3, ..IrcSettings::default() };
    let settings = Settings { irc, ..Settings::default() };
    let server = Harness::with_store(settings.clone(), Arc::clone(&store) as _).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut say = async |text: &str| {
        raj.say(text).await;
        while !matches!(raj.event().await, Event::Text(_, said) if said == text) {}
    };
    let told = |text: &str| format!(":{} PRIVMSG #lobby :{text}", elsewhere("Raj"));
    let shown = |line: &str| untagged(line, "x").1.to_owned();
    for n in 1..=4 {
        say(&format!("before {n}")).await;
    }
    let mut ann = Irc::enter_with(server.address, "Ann", "server-time batch").await;
    ann.join("lobby").await;
    ann.expect(&format!(":{SERVER} BATCH +1 chathistory #lobby")).await;
    for n in 2..=4 {
        assert_eq!(shown(&ann.line().await), told(&format!("before {n}")), "no more than is set");
    }
    ann.expect(&format!(":{SERVER} BATCH -1")).await;
    say("seen").await;
    assert_eq!(shown(&ann.line().await), told("seen"));
    drop(ann);
    server.members("lobby", 1).await;
    say("missed").await;
    let mut ann = Irc::enter(server.address, "ANN").await;
    ann.join("lobby").await;
    let line = ann.line().await;
    let (day, text) = line.split_once("] ").expect("when it was");
    assert_eq!(text, "missed");
    assert!(day.contains(":[20") && day.matches('-').count() == 2, "{line}");
    ann.quiet().await;
    server.stop().await;
    let server = Harness::with_store(settings, store as _).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    ann.join("lobby").await;
    ann.quiet().await;
    server.stop().await;
}

// [Modern, PING].
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_asked_whether_it_is_there() {
    let irc = IrcSettings { ping: std::time::Duration::from_millis(50), ..IrcSettings::default() };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    for _ in 0..2 {
        ann.expect(&format!("PING :{SERVER}")).await;
        ann.send(&format!("PONG {SERVER}")).await;
    }
    server.stop().await;
}

// [IRCv3, chathistory]: exclusive bounds, the room's order, msgids that are valid after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn history_by_every_kind_of_question() {
    let store = Arc::new(MemoryStore::new());
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    let settings = Settings { irc, ..Settings::default() };
    let server = Harness::with_store(settings.clone(), Arc::clone(&store) as _).await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    for n in 1..=300 {
        raj.say(&format!("text {n}")).await;
        raj.event().await;
    }
    server.stop().await;
    let server = Harness::with_store(settings, store as _).await;
    let mut plain = Irc::enter(server.address, "plain").await;
    plain.join("lobby").await;
    // Who cannot ask is shown the last ones, with the hour.
    for n in 251..=300 {
        let line = plain.line().await;
        let text = line.strip_prefix(&format!(":{} PRIVMSG #lobby :[", elsewhere("Raj"))).unwrap();
        assert!(text.ends_with(&format!("] text {n}")), "{line}");
    }
    plain.quiet().await;
    let mut ann = Irc::enter_with(
        server.address,
        "Ann",
        "batch draft/chathistory message-tags server-time standard-replies",
    )
    .await;
    ann.send("JOIN #lobby").await;
    ann.until(&format!(":{SERVER} 366 Ann #lobby :End of /NAMES list")).await;
    ann.quiet().await;
    let all = ask_history(&mut ann, "LATEST #lobby * 100").await;
    assert_eq!(numbers(&all), (201..=300).collect::<Vec<_>>());
    let id = |n: usize| all[n - 201].0.clone();
    for (question, from, to) in [
        (format!("LATEST #lobby msgid={} 1000", id(290)), 291, 300),
        (format!("LATEST #lobby msgid={} 3", id(290)), 298, 300),
        (format!("BEFORE #lobby msgid={} 5", id(210)), 205, 209),
        (format!("BEFORE #lobby msgid={} 1000", id(210)), 110, 209),
        (format!("AFTER #lobby msgid={} 5", id(210)), 211, 215),
        (format!("AROUND #lobby msgid={} 5", id(210)), 208, 212),
        (format!("AROUND #lobby msgid={} 1", id(210)), 210, 210),
        (format!("BETWEEN #lobby msgid={} msgid={} 100", id(210), id(220)), 211, 219),
        (format!("BETWEEN #lobby msgid={} msgid={} 3", id(210), id(220)), 211, 213),
        (format!("BETWEEN #lobby msgid={} msgid={} 3", id(220), id(210)), 217, 219),
        ("AFTER #lobby timestamp=2001-01-01T00:00:00.000Z 2".into(), 1, 2),
        ("BEFORE #lobby timestamp=2100-01-01T00:00:00.000Z 2".into(), 299, 300),
        ("AFTER #lobby timestamp=2100-01-01T00:00:00.000Z 2".into(), 1, 0),
        (format!("AFTER #lobby msgid={} 100", id(300)), 1, 0),
        (format!("BETWEEN #lobby msgid={} msgid={} 3", id(220), id(220)), 1, 0),
    ] {
        let found = ask_history(&mut ann, &question).await;
        assert_eq!(numbers(&found), (from..=to).collect::<Vec<_>>(), "{question}");
    }
    for (question, why) in [
        ("", "INVALID_PARAMS * :Insufficient parameters"),
        ("LATEST #lobby", "INVALID_PARAMS LATEST :Insufficient parameters"),
        ("FOO #lobby * 1", "INVALID_PARAMS FOO :Unknown subcommand"),
        ("LATEST #lobby x 1", "INVALID_PARAMS LATEST :Invalid parameters"),
        ("LATEST #lobby * x", "INVALID_PARAMS LATEST :Invalid parameters"),
        ("LATEST #nowhere * 1", "INVALID_TARGET LATEST #nowhere :You are not in that room"),
        ("BEFORE #lobby msgid=999/0.1#1 1", "MESSAGE_ERROR BEFORE #lobby :That message is not of this room"),
        ("TARGETS timestamp=x timestamp=y 1", "INVALID_PARAMS TARGETS :Invalid parameters"),
    ] {
        ann.send(&format!("CHATHISTORY {question}")).await;
        ann.expect(&format!(":{SERVER} FAIL CHATHISTORY {why}")).await;
    }
    let room = id(210).split('/').next().unwrap().to_owned();
    ann.send(&format!("CHATHISTORY BEFORE #lobby msgid={room}/0.9999#1 1")).await;
    ann.expect(&format!(
        ":{SERVER} FAIL CHATHISTORY MESSAGE_ERROR BEFORE #lobby :Messages could not be retrieved"
    ))
    .await;
    server.stop().await;
}

/// Ids and texts.
async fn ask_history(irc: &mut Irc, question: &str) -> Vec<(String, String)> {
    irc.send(&format!("CHATHISTORY {question}")).await;
    let start = irc.line().await;
    let name = start.strip_prefix(&format!(":{SERVER} BATCH +")).and_then(|rest| rest.split(' ').next());
    let end = format!(":{SERVER} BATCH -{}", name.unwrap_or_else(|| panic!("{start}")));
    let lines = irc.until(&end).await;
    let read = |line: &String| {
        assert_eq!(untagged(line, "batch").0, name);
        let text = untagged(line, "x")
            .1
            .splitn(4, ' ')
            .nth(3)
            .and_then(|text| text.strip_prefix(':'))
            .expect("a text");
        (untagged(line, "msgid").0.expect("an id").to_owned(), text.to_owned())
    };
    lines.iter().map(read).collect()
}

fn numbers(found: &[(String, String)]) -> Vec<usize> {
    found.iter().map(|(_, text)| text.strip_prefix("text ").unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_for_all_kinds_of_clients() {
    let server = unlimited().await;
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    ann.join("lobby").await;
    let mut bob = Irc::enter_with(server.address, "Bob", "echo-message").await;
    bob.join("lobby").await;
    let mut cal = Classic::connect(server.address).await;
    cal.send("./join lobby\nCal\n").await;
    server.members("lobby", 4).await;
    ann.line().await;
    ann.line().await;
    bob.line().await;
    for _ in 0..3 {
        raj.event().await;
    }
    for n in 0..50 {
        raj.say(&format!("Raj {n}")).await;
        ann.send(&format!("PRIVMSG #lobby :Ann {n}")).await;
        bob.send(&format!("PRIVMSG #lobby :Bob {n}")).await;
        cal.send(format!("Cal {n}\n")).await;
    }
    let mut order = Vec::new();
    while order.len() < 200 {
        if let Event::Text(_, text) = raj.event().await {
            order.push(text);
        }
    }
    for expected in &order {
        let author = &expected[..3];
        let from = if ["Ann", "Bob"].contains(&author) { source(author) } else { elsewhere(author) };
        bob.expect(&format!(":{from} PRIVMSG #lobby :{expected}")).await;
        if author != "Ann" {
            ann.expect(&format!(":{from} PRIVMSG #lobby :{expected}")).await;
        }
        if author != "Cal" {
            cal.expect(&format!("{author} : {expected}")).await;
        }
    }
    server.stop().await;
}

/// Reads numbered lines up to the last, none missing and none twice. The first of them.
async fn counted(mut irc: Irc, last: u64) -> u64 {
    let mut next = None;
    loop {
        let line = irc.line().await;
        let (_, line) = untagged(&line, "time");
        let Some((_, text)) = line.split_once(" PRIVMSG #lobby :") else { continue };
        let n: u64 = text.split('.').next().unwrap().parse().unwrap();
        let (first, expected) = next.unwrap_or((n, n));
        assert_eq!(n, expected, "{line}");
        if n == last {
            return first;
        }
        next = Some((first, n + 1));
    }
}

// More than is kept of what is read and rendered for many at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_along_or_late_or_comes_in_the_midst_gets_every_line_once() {
    const PARTS: u64 = 12;
    const LINES: u64 = 1_000;
    const LAST: u64 = PARTS * LINES;
    let server = unlimited().await;
    let mut late = Irc::enter(server.address, "Late").await;
    // So that less is on its way to it than is said.
    SockRef::from(late.stream.get_ref()).set_recv_buffer_size(64 << 10).unwrap();
    late.join("lobby").await;
    let mut readers = Vec::new();
    for capabilities in ["", "server-time message-tags", "echo-message", "batch draft/multiline"] {
        let mut irc = Irc::enter_with(server.address, &format!("R{}", readers.len()), capabilities).await;
        irc.join("lobby").await;
        readers.push((0, tokio::spawn(counted(irc, LAST))));
    }
    let mut ann = Irc::enter(server.address, "Ann").await;
    ann.join("lobby").await;
    for part in 0..PARTS {
        let line = |n| format!("PRIVMSG #lobby :{n}.{}\r\n", "x".repeat(400));
        let lines: String = (part * LINES..(part + 1) * LINES).map(line).collect();
        ann.bytes(lines.as_bytes()).await;
        let name = format!("R{}", readers.len());
        let mut irc = Irc::enter_with(server.address, &name, "draft/chathistory").await;
        irc.join("lobby").await;
        readers.push(((part + 1) * LINES, tokio::spawn(counted(irc, LAST))));
    }
    ann.send(&format!("PRIVMSG #lobby :{LAST}.")).await;
    for (missed_at_most, reader) in readers {
        assert!(reader.await.unwrap() <= missed_at_most);
    }
    assert_eq!(counted(late, LAST).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_is_refused_and_the_connection_goes_on() {
    let server = unlimited().await;
    let mut ann = Irc::enter_with(server.address, "Ann", "message-tags standard-replies").await;
    // [Modern, Message Format]: 512 bytes with the line end; [IRCv3, message-tags]: 4096 bytes of tags.
    ann.bytes(format!("PRIVMSG #a :{}\r\n", "x".repeat(499)).as_bytes()).await;
    ann.numeric("417", ":Input line was too long").await;
    ann.bytes(format!("@{} PING a\r\n", "t".repeat(4095)).as_bytes()).await;
    ann.numeric("417", ":Input line was too long").await;
    ann.bytes(&[b'y'; 100_000]).await;
    ann.numeric("417", ":Input line was too long").await;
    ann.bytes(b"\r\nPRIVMSG #a :\xff\r\n").await;
    ann.expect(&format!(":{SERVER} FAIL * INVALID_UTF8 :Message rejected, it was not UTF-8")).await;
    ann.bytes(b"PRIVMSG #a :\0\r\n").await;
    ann.expect(&format!(":{SERVER} FAIL * INVALID_MESSAGE :Message rejected, it was no line of IRC")).await;
    ann.bytes(b"\n\r\n   \r\n").await;
    ann.quiet().await;
    // What could end a line or a tag in others' clients cannot.
    let mut raj = Native::join(server.address, "lobby", "Raj").await;
    ann.join("lobby").await;
    raj.event().await;
    raj.say("a\r\nQUIT\0\u{1}VERSION\u{1}\u{7f}\u{202e}").await;
    let first = ann.line().await;
    assert_eq!(untagged(&first, "x").1, format!(":{} PRIVMSG #lobby :a", elsewhere("Raj")));
    ann.expect(&format!(":{} PRIVMSG #lobby :QUITVERSION\\x7f\u{202e}", elsewhere("Raj"))).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_fast_waits_and_loses_nothing() {
    let irc = IrcSettings { lines_per_second: 1_000, ..IrcSettings::default() };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    let lines: String = (0..6_000).map(|n| format!("PING :{n}\r\n")).collect();
    let begun = std::time::Instant::now();
    ann.bytes(lines.as_bytes()).await;
    for n in 0..6_000 {
        ann.expect(&format!(":{SERVER} PONG {SERVER} :{n}")).await;
    }
    // Five seconds' worth come at once, and the rest no faster than they may, on any machine.
    assert!(begun.elapsed() > std::time::Duration::from_millis(900));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_too_often_has_to_wait() {
    let server = Harness::start(Settings::default()).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    for _ in 0..5 {
        ann.ask("AWAY :lunch", "306", ":You have been marked as being away").await;
    }
    ann.send("NICK Anna").await;
    let told = ann.line().await;
    assert!(told.starts_with(&format!(":{SERVER} 263 Ann NICK :Please wait ")), "{told}");
    ann.quiet().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_turned_off_and_has_a_name_and_a_message() {
    let irc = IrcSettings { enabled: false, ..IrcSettings::default() };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Irc::connect(server.address).await;
    ann.send("NICK Ann").await;
    ann.expect("ERROR :IRC is turned off on this server").await;
    assert_eq!(ann.ended().await, "");
    server.stop().await;
    let irc = IrcSettings {
        server_name: "chat.example.org".into(),
        network: "Example".into(),
        motd: vec!["Be kind.".into(), String::new()],
        ..IrcSettings::default()
    };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Irc::connect(server.address).await;
    ann.send("nick Ann\r\nuser a 0 * :").await;
    ann.expect(":chat.example.org 001 Ann :Welcome to the Example Network, Ann").await;
    ann.until(":chat.example.org 375 Ann :- chat.example.org Message of the day -").await;
    ann.expect(":chat.example.org 372 Ann :- Be kind.").await;
    ann.expect(":chat.example.org 372 Ann :- ").await;
    ann.expect(":chat.example.org 376 Ann :End of /MOTD command.").await;
    server.shut_down();
    ann.expect("ERROR :The server is shutting down").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_says_who_it_is_is_nobody_and_is_sent_away() {
    let registration = std::time::Duration::from_millis(500);
    let irc = IrcSettings { registration, lines_per_second: 0, ..IrcSettings::default() };
    let server = Harness::start(Settings { irc, ..Settings::default() }).await;
    let mut ann = Irc::enter(server.address, "Ann").await;
    for words in ["NICK half", "USER half 0 * :Half", "CAP LS 302\r\nNICK half\r\nUSER half 0 * :Half"] {
        let mut half = Irc::connect(server.address).await;
        half.send(words).await;
        ann.ask("ISON half Ann", "303", ":Ann").await;
        ann.ask("WHOIS half", "401", "half :No such nick/channel").await;
        ann.numeric("318", "half :End of /WHOIS list").await;
        let told = half.ended().await;
        assert!(told.ends_with("ERROR :Registration timed out\r\n"), "{words}: {told}");
    }
    // The nick is free again.
    ann.send("NICK half").await;
    ann.expect(&format!(":{} NICK :half", source("Ann"))).await;
    server.stop().await;
}

/// Two with IRC clients: a plain one, and one with all that can be negotiated.
async fn two(server: &Harness) -> (Irc, Irc) {
    (Irc::enter(server.address, "Raj").await, Irc::enter_with(server.address, "Ann", ALL).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_in_whatever_they_have_negotiated() {
    let server = unlimited().await;
    let (mut raj, mut ann) = two(&server).await;
    let (from_raj, from_ann) = (source("Raj"), source("Ann"));

    raj.send("PRIVMSG ann :lunch?").await;
    let lunch = id_of(&mut ann, &format!(":{from_raj} PRIVMSG Ann :lunch?")).await;
    // The label comes back with the message itself, once it is stored.
    ann.send(&format!("@label=a;+draft/reply={lunch} PRIVMSG Raj :at one")).await;
    let line = ann.line().await;
    let (label, rest) = untagged(&line, "label");
    assert_eq!((label, rest), (Some("a"), &format!(":{from_ann} PRIVMSG Raj :at one")[..]));
    assert_eq!(untagged(&line, "+draft/reply").0, Some(&lunch[..]));
    let one = untagged(&line, "msgid").0.unwrap().to_owned();
    raj.expect(&format!(":{from_ann} PRIVMSG Raj :(to Raj: \"lunch?\") at one")).await;

    // What IRC clients ask each other stays what it is.
    raj.send("PRIVMSG Ann :\u{1}VERSION\u{1}\r\nPRIVMSG Ann :\u{1}ACTION waves\u{1}").await;
    id_of(&mut ann, &format!(":{from_raj} PRIVMSG Ann :\u{1}VERSION\u{1}")).await;
    id_of(&mut ann, &format!(":{from_raj} PRIVMSG Ann :\u{1}ACTION waves\u{1}")).await;
    ann.send("NOTICE Raj :\u{1}VERSION a client\u{1}").await;
    id_of(&mut ann, &format!(":{from_ann} NOTICE Raj :\u{1}VERSION a client\u{1}")).await;
    raj.expect(&format!(":{from_ann} NOTICE Raj :\u{1}VERSION a client\u{1}")).await;

    // Reactions and deletions are those of any room.
    ann.send(&format!("@+draft/react=👍;+draft/reply={lunch} TAGMSG Raj")).await;
    id_of(&mut ann, &format!(":{from_ann} TAGMSG Raj")).await;
    let reaction = raj.line().await;
    assert!(
        reaction.starts_with(&format!(":{from_ann} PRIVMSG Raj :")) && reaction.contains('👍'),
        "{reaction}"
    );
    ann.send(&format!("REDACT Raj {lunch}")).await;
    ann.expect(&format!(
        ":{SERVER} FAIL REDACT REDACT_FORBIDDEN Raj {lunch} :You are not authorized to delete this message"
    ))
    .await;
    ann.send(&format!("REDACT raj {one}")).await;
    id_of(&mut ann, &format!(":{from_ann} REDACT Raj {one}")).await;
    assert!(raj.line().await.starts_with(&format!(":{from_ann} PRIVMSG Raj :")));

    // Who is away says so, to those who ask for it.
    raj.ask("AWAY :at lunch", "306", ":You have been marked as being away").await;
    ann.send("PRIVMSG Raj :there?").await;
    ann.numeric("301", "Raj :at lunch").await;
    id_of(&mut ann, &format!(":{from_ann} PRIVMSG Raj :there?")).await;
    raj.expect(&format!(":{from_ann} PRIVMSG Raj :there?")).await;

    // With another nick it is the same conversation, and the same message to two is two.
    raj.send("NICK Raja").await;
    raj.expect(&format!(":{from_raj} NICK :Raja")).await;
    raj.nick = "Raja".into();
    ann.ask("PRIVMSG Raj :gone?", "401", "Raj :No such nick/channel").await;
    let mut eve = Irc::enter(server.address, "Eve").await;
    raj.send("PRIVMSG Ann,Eve :back").await;
    let back = id_of(&mut ann, &format!(":{} PRIVMSG Ann :back", renamed("Raj", "Raja"))).await;
    assert_eq!(back.split('/').next(), lunch.split('/').next());
    eve.expect(&format!(":{} PRIVMSG Eve :back", renamed("Raj", "Raja"))).await;

    // Who talks to itself hears it once.
    eve.send("PRIVMSG Eve :note to self").await;
    eve.expect(&format!(":{} PRIVMSG Eve :note to self", source("Eve"))).await;
    for irc in [&mut raj, &mut ann, &mut eve] {
        irc.quiet().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_for_the_two_alone() {
    let store = Arc::new(MemoryStore::new());
    let irc = IrcSettings { lines_per_second: 0, ..IrcSettings::default() };
    let server = Harness::with_store(Settings { irc, ..Settings::default() }, Arc::clone(&store) as _).await;
    let (mut raj, mut ann) = two(&server).await;
    let mut eve =
        Irc::enter_with(server.address, "Eve", "draft/chathistory standard-replies message-tags").await;
    for n in 1..=5 {
        raj.send(&format!("PRIVMSG Ann :text {n}")).await;
        id_of(&mut ann, &format!(":{} PRIVMSG Ann :text {n}", source("Raj"))).await;
    }
    let all = ask_history(&mut ann, "LATEST raj * 100").await;
    assert_eq!(numbers(&all), [1, 2, 3, 4, 5]);
    let id = |n: usize| &all[n - 1].0;
    // Bounds count messages: that somebody came is none.
    for (question, from, to) in [
        (format!("BEFORE Raj msgid={} 2", id(4)), 2, 3),
        (format!("AFTER Raj msgid={} 10", id(4)), 5, 5),
        ("AFTER Raj timestamp=2001-01-01T00:00:00.000Z 2".into(), 1, 2),
    ] {
        assert_eq!(
            numbers(&ask_history(&mut ann, &question).await),
            (from..=to).collect::<Vec<_>>(),
            "{question}"
        );
    }
    ann.send("CHATHISTORY TARGETS timestamp=2001-01-01T00:00:00.000Z timestamp=2100-01-01T00:00:00.000Z 9")
        .await;
    assert!(ann.line().await.contains(" BATCH +"));
    assert!(
        untagged(&ann.line().await, "batch").1.starts_with(&format!(":{SERVER} CHATHISTORY TARGETS Raj "))
    );
    assert!(ann.line().await.contains(" BATCH -"));
    ann.send("MARKREAD Raj timestamp=2026-01-01T00:00:00.000Z").await;
    ann.expect(&format!(":{SERVER} MARKREAD Raj timestamp=2026-01-01T00:00:00.000Z")).await;

    // Others do not see that it is there, and what they ask for of it is not theirs.
    let room = id(1).split('/').next().unwrap();
    assert!(server.rooms().await.is_empty());
    eve.send("LIST").await;
    eve.numeric("321", "Channel :Users  Name").await;
    eve.numeric("323", ":End of /LIST").await;
    for name in [format!("#.{room}"), "#.0".into()] {
        eve.ask(
            &format!("JOIN {name}"),
            "403",
            &format!("{name} :the name of a room cannot start with a dot"),
        )
        .await;
        eve.ask(&format!("TOPIC {name}"), "403", &format!("{name} :No such channel")).await;
    }
    eve.send("WHOIS Raj").await;
    eve.numeric("311", &format!("Raj ~Raj {HOST} * :The real Raj")).await;
    eve.numeric("312", &format!("Raj {SERVER} :Causerie")).await;
    assert!(eve.line().await.starts_with(&format!(":{SERVER} 317 Eve Raj ")));
    eve.numeric("318", "Raj :End of /WHOIS list").await;
    eve.send(&format!("CHATHISTORY BEFORE Raj msgid={} 9", id(5))).await;
    eve.quiet().await;
    eve.send("PRIVMSG Raj :psst").await;
    raj.expect(&format!(":{} PRIVMSG Raj :psst", source("Eve"))).await;
    eve.send(&format!("CHATHISTORY BEFORE Raj msgid={} 9", id(5))).await;
    eve.expect(&format!(
        ":{SERVER} FAIL CHATHISTORY MESSAGE_ERROR BEFORE Raj :That message is not of this room"
    ))
    .await;
    eve.send(&format!("@+draft/react=x;+draft/reply={} TAGMSG Raj", id(1))).await;
    eve.numeric("401", "Raj :Cannot send to user: a reaction needs the message that it is to").await;

    // What was said last arrives, and with one of them it ends: whoever comes by that nick later is somebody else.
    raj.send("PRIVMSG Ann :bye\r\nQUIT").await;
    raj.expect("ERROR :Closing link: Quit").await;
    id_of(&mut ann, &format!(":{} PRIVMSG Ann :bye", source("Raj"))).await;
    within("the end of it", async { while !eve_asks(&mut eve, "ISON Raj").await.ends_with(" :") {} }).await;
    ann.ask("PRIVMSG Raj :wait", "401", "Raj :No such nick/channel").await;
    let mut raj = Irc::enter_with(server.address, "Raj", ALL).await;
    assert_eq!(ask_history(&mut raj, "LATEST Ann * 9").await, []);
    raj.send("PRIVMSG Ann :who are you?").await;
    let again = id_of(&mut ann, &format!(":{} PRIVMSG Ann :who are you?", source("Raj"))).await;
    assert_ne!(again.split('/').next(), Some(room));
    assert_eq!(ask_history(&mut ann, "LATEST Raj * 9").await.len(), 1);
    drop((raj, ann, eve));
    within("nothing to be left of it", async {
        while !store.rooms().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

async fn eve_asks(eve: &mut Irc, question: &str) -> String {
    eve.send(question).await;
    eve.line().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_people_that_cannot_arrive() {
    let server = unlimited().await;
    let (mut raj, mut ann) = two(&server).await;
    let _lee = Native::join(server.address, "lobby", "Lee").await;
    ann.ask("PRIVMSG nobody :hi", "401", "nobody :No such nick/channel").await;
    let why = "Lee :Cannot send to user: not connected by IRC; meet in a room";
    ann.ask("PRIVMSG Lee :hi", "401", why).await;
    let long = "x".repeat(300);
    // A notice is not answered, whatever becomes of it [RFC2812, 3.3.2]; who asks is told that it was taken.
    for notice in ["nobody :hi", "Lee :hi", "#nowhere :hi", &format!("{long} :hi"), "Raj", "a,b,c,d,e :hi"] {
        ann.send(&format!("@label=n NOTICE {notice}")).await;
        ann.expect(&format!("@label=n :{SERVER} ACK")).await;
    }
    // Half registered is nobody.
    let mut half = Irc::connect(server.address).await;
    half.send("NICK half").await;
    ann.ask("PRIVMSG half :hi", "401", "half :No such nick/channel").await;
    // As many as are allowed.
    let mut others = Vec::new();
    for n in 0..100 {
        others.push(Irc::enter(server.address, &format!("n{n}")).await);
        raj.send(&format!("PRIVMSG n{n} :hi")).await;
        others[n].expect(&format!(":{} PRIVMSG n{n} :hi", source("Raj"))).await;
    }
    raj.ask("PRIVMSG Ann :hi", "401", "Ann :Cannot send to user: you have begun too many conversations")
        .await;
    // Nobody is kept from answering.
    ann.send("PRIVMSG Raj :hello").await;
    id_of(&mut ann, &format!(":{} PRIVMSG Raj :hello", source("Ann"))).await;
    raj.expect(&format!(":{} PRIVMSG Raj :hello", source("Ann"))).await;
    raj.send("PRIVMSG Ann :hi").await;
    id_of(&mut ann, &format!(":{} PRIVMSG Ann :hi", source("Raj"))).await;
    // Nor from beginning something, however many have begun something with it.
    for (n, other) in others.iter_mut().enumerate() {
        other.send("PRIVMSG Ann :hi").await;
        id_of(&mut ann, &format!(":{} PRIVMSG Ann :hi", source(&format!("n{n}")))).await;
    }
    let mut late = Irc::enter(server.address, "Late").await;
    ann.send("PRIVMSG Late :hello").await;
    late.expect(&format!(":{} PRIVMSG Late :hello", source("Ann"))).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_does_not_outlive_a_crash_of_the_server() {
    let store = Arc::new(MemoryStore::new());
    let row = |name: &str| RoomRow {
        name: name.into(),
        port: None,
        creator: "::1".into(),
        epoch: causerie_core::id::Epoch::new(1),
        created_millis: 1,
        ..RoomRow::default()
    };
    let create = |room, name: &str| Change::Create { room: RoomId(room), row: row(name) };
    store.commit(vec![create(0, "lobby"), create(1, ".1")]).unwrap();
    let server = Harness::with_store(Settings::default(), Arc::clone(&store) as _).await;
    assert_eq!(server.rooms().await.len(), 1);
    let names: Vec<_> = store.rooms().unwrap().into_iter().map(|room| room.row.name).collect();
    assert_eq!(names, ["lobby"]);
    server.stop().await;
}
