//! `causerie tls`: the certificate by which a server is known.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::anyhow;
use causerie_client::Fingerprint;
use clap::{Args, Subcommand};

use crate::config::server::Configuration;
use crate::when::to_the_second;

/// The certificate by which a server is known.
#[derive(Args, Debug)]
pub(crate) struct TlsArgs {
    #[command(subcommand)]
    command: TlsCommand,
}

#[derive(Debug, Subcommand)]
enum TlsCommand {
    /// Print the certificate that `causerie serve` shows with these settings, on this machine.
    Show {
        /// The server's configuration file. By default config.toml in the platform's folder for configurations.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,

        /// Folder of the rooms, with which the server's own certificate is kept.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

pub(crate) fn run(args: TlsArgs) -> anyhow::Result<()> {
    let TlsCommand::Show { config, data } = args.command;
    let mut words = vec![OsString::from("causerie")];
    for (flag, value) in [("--config", config), ("--data", data)] {
        words.extend(value.into_iter().flat_map(|value| [flag.into(), value.into_os_string()]));
    }
    let (tls, is_on) = Configuration::read(&words)?.args.certificate_settings();
    let certificate = tls.certificate()?;
    let certificate = certificate
        .ok_or_else(|| anyhow!("there is none yet: the server makes one at its first start with TLS"))?;
    println!("names               {}", certificate.names.join(", "));
    println!("public key SHA-256  {}", Fingerprint::new(certificate.key_sha256).colons());
    println!("certificate SHA-256 {}", Fingerprint::new(certificate.certificate_sha256).colons());
    let ends = to_the_second(certificate.ends.saturating_mul(1_000));
    println!("counts until        {ends} ({} days)", certificate.remaining().as_secs() / 86_400);
    let trusted =
        if certificate.is_trusted { "by programs that know this machine's roots" } else { "by its key only" };
    println!("is known            {trusted}");
    if !is_on {
        println!("TLS is off with these settings: this is the certificate that it would show");
    }
    Ok(())
}
