//! Configuration files: values checked by the parsers of the flags that they stand for.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::{Arg, Command};
use serde::Deserialize;
use toml::Spanned;

/// Mistake in how the program was called or configured, in one line.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// Returns the name of a setting in a file.
pub(crate) fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// Checks the environment's values: the parser of flags would not say where they come from.
pub(crate) fn check_environment(command: &Command) -> Result<(), UsageError> {
    for arg in command.get_arguments() {
        let Some(variable) = arg.get_env() else { continue };
        if let Some(value) = env::var_os(variable) {
            let checked = check(arg, &value);
            checked.map_err(|why| UsageError(format!("{}: {why}", variable.to_string_lossy())))?;
        }
    }
    Ok(())
}

/// Asks the flag's own parser.
fn check(arg: &Arg, value: &OsStr) -> Result<(), String> {
    let mut word = arg.get_long().map(|long| OsString::from(format!("--{long}="))).unwrap_or_default();
    word.push(value);
    let words = if arg.is_positional() { vec!["--".into(), word] } else { vec![word] };
    let alone = Command::new("check").no_binary_name(true).arg(arg.clone().env(None));
    let Err(error) = alone.try_get_matches_from(words) else { return Ok(()) };
    let possible: Vec<_> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    let why = match error.source() {
        Some(source) => source.to_string(),
        None if possible.is_empty() => "a value is missing".to_owned(),
        None => format!("it can be {}", possible.join(" or ")),
    };
    match arg.is_hide_env_values_set() {
        true => Err(why),
        false => Err(format!("'{}' is not possible: {why}", value.to_string_lossy())),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SettingKind {
    Switch,
    Number,
    Text,
}

impl SettingKind {
    pub(crate) fn of(arg: &Arg) -> Self {
        let id = arg.get_value_parser().type_id();
        if id == TypeId::of::<bool>() {
            Self::Switch
        } else if id == TypeId::of::<u64>() || id == TypeId::of::<usize>() {
            Self::Number
        } else {
            Self::Text
        }
    }

    /// A flag's value as it stands in a file.
    pub(crate) fn write(self, value: &str) -> String {
        match self {
            Self::Switch => value.to_owned(),
            // 007 and +7 are flags' numbers, and none in the file.
            Self::Number => value.parse::<u64>().map_or_else(|_| value.to_owned(), |n| n.to_string()),
            Self::Text => toml::Value::from(value).to_string(),
        }
    }

    /// A file's value as a flag has it.
    fn read(self, value: &toml::Value) -> Result<String, String> {
        match (self, value) {
            (Self::Switch, toml::Value::Boolean(value)) => Ok(value.to_string()),
            (Self::Number, toml::Value::Integer(value)) => Ok(value.to_string()),
            (Self::Text, toml::Value::String(value)) => Ok(value.clone()),
            (Self::Switch, _) => Err(format!("it must be true or false, not {}", article(value))),
            (Self::Number, _) => Err(format!("it must be a whole number, not {}", article(value))),
            (Self::Text, _) => Err(format!("it must be a string, not {}", article(value))),
        }
    }
}

fn article(value: &toml::Value) -> String {
    match value.type_str() {
        kind @ ("array" | "integer") => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

/// Bytes of the longest configuration file.
const FILE_MAX: u64 = 1 << 20;

/// Ids, values and lines. `shows_all` says where all settings are listed.
pub(crate) fn read_file(
    file: &Path,
    args: &[&Arg],
    shows_all: &str,
) -> Result<Vec<(String, String, usize)>, UsageError> {
    let at = file.display();
    let text = read_text(file, FILE_MAX).map_err(|error| UsageError(format!("{at}: {error}")))?;
    let line = |offset: usize| text[..offset].matches('\n').count() + 1;
    let read = BTreeMap::<Spanned<String>, Spanned<toml::Value>>::deserialize;
    let table = toml::Deserializer::parse(&text).and_then(read).map_err(|error| {
        let line = error.span().map_or(1, |span| line(span.start));
        UsageError(format!("{at}:{line}: {}", error.message().replace('\n', "; ")))
    })?;
    let mut found = Vec::new();
    for (key, value) in table {
        let line = line(key.span().start);
        let wrong = |why: String| UsageError(format!("{at}:{line}: {why}"));
        let key = key.into_inner();
        let Some(arg) = args.iter().find(|arg| name(arg) == key) else {
            let other = key.replace('_', "-");
            return Err(wrong(match args.iter().any(|arg| name(arg) == other) {
                true => format!("there is no setting '{key}', but there is '{other}'"),
                false => format!("there is no setting '{key}'; {shows_all}"),
            }));
        };
        let value =
            SettingKind::of(arg).read(value.get_ref()).map_err(|why| wrong(format!("{key}: {why}")))?;
        check(arg, OsStr::new(&value)).map_err(|why| wrong(format!("{key}: {why}")))?;
        found.push((arg.get_id().to_string(), value, line));
    }
    Ok(found)
}

pub(crate) fn read_text(file: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(max + 1).read_to_string(&mut text)?;
    match text.len() as u64 > max {
        true => Err(io::Error::other(format!("it has more than {max} bytes"))),
        false => Ok(text),
    }
}

/// Returns a text as comments of at most 110 columns.
pub(crate) fn wrapped(text: &str) -> String {
    let mut out = String::from("#");
    let mut column = 1;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column + 1 + width > 110 {
            out.push_str("\n#");
            column = 1;
        }
        column += 1 + width;
        write!(out, " {word}").expect("a string takes everything");
    }
    out + "\n"
}
