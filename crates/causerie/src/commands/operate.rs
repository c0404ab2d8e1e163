//! `causerie operate`: what the operator does on the server's own machine, by the control socket in the data folder.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::server::default_data;

/// Operate the server that runs on this machine.
#[derive(Args, Debug)]
pub(crate) struct OperateArgs {
    /// Folder of the server's rooms. By default in the platform's folder for data of programs.
    #[arg(long, value_name = "DIR", env = "CAUSERIE_DATA", global = true)]
    data: Option<PathBuf>,

    #[command(subcommand)]
    command: OperateCommand,
}

#[derive(Debug, Subcommand)]
enum OperateCommand {
    /// Let nobody new in: no new rooms, no new members, and the least limits for each address. Members stay, and come back. It
    /// ends with `off`, or with the server.
    Lockdown {
        /// Begin it, end it, or tell which it is.
        state: LockdownRequest,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum LockdownRequest {
    On,
    Off,
    Status,
}

pub(crate) fn run(args: OperateArgs) -> anyhow::Result<()> {
    let OperateCommand::Lockdown { state } = args.command;
    let data = args.data.or_else(default_data);
    let data = data.ok_or_else(|| anyhow!("there is no folder for data here; --data DIR chooses one"))?;
    let (method, body) = match state {
        LockdownRequest::On => ("POST", r#"{"on":true}"#),
        LockdownRequest::Off => ("POST", r#"{"on":false}"#),
        LockdownRequest::Status => ("GET", ""),
    };
    let socket = data.join(causerie_server::CONTROL_SOCKET);
    let answer = ask(&socket, method, "/api/operate/lockdown", body);
    let answer = answer.with_context(|| format!("cannot reach a server by {}", socket.display()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the server has refused: {body}");
    }
    println!("lockdown is {}", if body == r#"{"on":true}"# { "on" } else { "off" });
    Ok(())
}

/// Asks by the control socket, and returns the answer with its head.
#[cfg(unix)]
fn ask(socket: &std::path::Path, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(not(unix))]
fn ask(_: &std::path::Path, _: &str, _: &str, _: &str) -> std::io::Result<String> {
    Err(std::io::ErrorKind::Unsupported.into())
}
