//! Where lines come from and go to: a terminal with line editing, or pipes.
//!
//! Lines are read on a thread of their own, one at each request, so prompts come in order and waiting for a line
//! can be cancelled without losing it. In a pipe nothing but the lines themselves is written: no prompt that was
//! not asked for, no escape code.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Mutex;
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

/// A line longer than this is refused: nobody types it, and it would have to be held in memory.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What came in.
#[derive(Debug)]
pub(crate) enum Input {
    /// A line, without its end.
    Line(String),
    /// A line that is not UTF-8, or too long: nothing of it is used.
    Unusable(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Nothing comes any more.
    End,
}

pub(crate) struct Console {
    requests: std::sync::mpsc::Sender<String>,
    inputs: mpsc::Receiver<Input>,
    asked: bool,
    /// On a terminal: prints above what is being typed.
    printer: Option<Mutex<Box<dyn ExternalPrinter + Send>>>,
    dim: bool,
}

impl Console {
    /// Opens standard input and output.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let (requests, asked) = std::sync::mpsc::channel();
        let (lines, inputs) = mpsc::channel(1);
        let mut printer = None;
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let mut editor = DefaultEditor::new()?;
            printer = Some(Mutex::new(Box::new(editor.create_external_printer()?) as Box<_>));
            thread::spawn(move || edit(editor, asked, lines));
        } else {
            thread::spawn(move || read(asked, lines));
        }
        let dim = printer.is_some() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Ok(Self { requests, inputs, asked: false, printer, dim })
    }

    /// Whether somebody sits at a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.printer.is_some()
    }

    /// The next line. A prompt is shown where one is given, in a pipe too. Cancelling it loses nothing.
    pub(crate) async fn ask(&mut self, prompt: &str) -> Input {
        if !self.asked {
            self.asked = true;
            if self.requests.send(prompt.to_owned()).is_err() {
                return Input::End;
            }
        }
        let input = self.inputs.recv().await.unwrap_or(Input::End);
        self.asked = false;
        input
    }

    /// One line for standard output. An error means that nobody reads it any more.
    pub(crate) fn message(&self, line: &str) -> io::Result<()> {
        match &self.printer {
            Some(printer) => print_above(printer, format!("{line}\n")),
            None => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()
            }
        }
    }

    /// One line beside the messages: on standard error, or on the terminal, dimmed.
    pub(crate) fn notice(&self, line: &str) {
        // Nobody may read it, and there is nowhere else to say so.
        let _ = match &self.printer {
            Some(printer) if self.dim => print_above(printer, format!("\x1b[2m{line}\x1b[0m\n")),
            Some(printer) => print_above(printer, format!("{line}\n")),
            None => writeln!(io::stderr(), "{line}"),
        };
    }
}

fn print_above(printer: &Mutex<Box<dyn ExternalPrinter + Send>>, line: String) -> io::Result<()> {
    printer.lock().expect("printing does not panic").print(line).map_err(io::Error::other)
}

/// The thread of a terminal.
fn edit(mut editor: DefaultEditor, asked: std::sync::mpsc::Receiver<String>, lines: mpsc::Sender<Input>) {
    for prompt in asked {
        let input = match editor.readline(&prompt) {
            Ok(line) => {
                // A line that cannot be kept in the history is still a line.
                let _ = editor.add_history_entry(&line);
                Input::Line(line)
            }
            Err(ReadlineError::Interrupted) => Input::Interrupted,
            Err(_) => Input::End,
        };
        if lines.blocking_send(input).is_err() {
            break;
        }
    }
}

/// The thread of a pipe.
fn read(asked: std::sync::mpsc::Receiver<String>, lines: mpsc::Sender<Input>) {
    let mut stdin = io::stdin().lock();
    for prompt in asked {
        let mut out = io::stdout().lock();
        // A closed standard output is noticed when there is a message for it.
        let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        drop(out);
        if lines.blocking_send(read_line(&mut stdin)).is_err() {
            break;
        }
    }
}

fn read_line(stdin: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let available = match stdin.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Input::End,
        };
        let end = available.iter().position(|&b| b == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        if taken == 0 && line.is_empty() && !too_long {
            return Input::End;
        }
        if line.len() + taken > LINE_BYTES_MAX {
            too_long = true;
            line.clear();
        } else if !too_long {
            line.extend_from_slice(&available[..taken]);
        }
        stdin.consume(taken);
        if end.is_some() || taken == 0 {
            break;
        }
    }
    if too_long {
        return Input::Unusable(format!("a line of more than {LINE_BYTES_MAX} bytes was not read"));
    }
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(line) => Input::Line(line),
        Err(_) => Input::Unusable("a line that is not UTF-8 was not read".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut reader = io::BufReader::with_capacity(7, bytes);
        let all = std::iter::from_fn(|| match read_line(&mut reader) {
            Input::End => None,
            Input::Line(line) => Some(line),
            other => Some(format!("{other:?}")),
        });
        all.collect()
    }

    #[test]
    fn a_pipe_is_read_line_by_line_whatever_it_holds() {
        assert_eq!(lines(b"one\ntwo\r\n\nlast"), ["one", "two", "", "last"]);
        assert_eq!(lines(b""), [""; 0]);
        let read = lines(b"ok\n\xff\xfe\nok\n");
        assert_eq!((&read[0][..], &read[2][..]), ("ok", "ok"));
        assert!(read[1].contains("not UTF-8"));
        let mut long = vec![b'x'; LINE_BYTES_MAX * 2];
        long.extend_from_slice(b"\nok\n");
        let read = lines(&long);
        assert!(read[0].contains("more than"));
        assert_eq!(read[1], "ok");
    }
}
