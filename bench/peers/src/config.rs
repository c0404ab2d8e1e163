//! Configurations of others' servers: on the loopback, without files of their own, and without limits on what a
//! client sends or leaves unread, where there is a setting for that.

use std::io;
use std::path::{Path, PathBuf};

/// Writes a configuration into the server's directory.
pub(crate) fn write(scratch: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = scratch.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// InspIRCd 3. A client is held up once its lines of a second exceed `threshold`; without fake lag it would be cut
/// off. The two modules are those that the load negotiates with.
pub(crate) fn inspircd(port: &str) -> String {
    format!(
        r#"<server name="irc.local" description="load" network="load" id="001">
<admin name="load" nick="load" email="load@irc.local">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="load" allow="*" timeout="60" pingfreq="3600" limit="100000" localmax="100000"
    globalmax="100000" maxconnwarn="no" fakelag="yes" threshold="1000000" commandrate="1000000000"
    recvq="1073741824" softsendq="1073741824" hardsendq="1073741824" resolvehostnames="no" useident="no">
<performance softlimit="100000" somaxconn="1024">
<limits maxnick="64" maxchan="64">
<module name="cap">
<module name="ircv3_echomessage">
"#
    )
}

/// ngIRCd 26: `MaxPenaltyTime` is 0 where nobody is held up. What a client may leave unread is fixed.
pub(crate) fn ngircd(port: &str) -> String {
    format!(
        "[Global]\nName = irc.local\nInfo = load\nListen = 127.0.0.1\nPorts = {port}\nMotdPhrase = load\n\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxNickLength = 31\nMaxPenaltyTime = 0\n\
         PingTimeout = 3600\n[Options]\nDNS = no\nIdent = no\nPAM = no\n"
    )
}
