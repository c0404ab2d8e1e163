//! Source and destination of lines: a terminal with line editing, or pipes.
//!
//! In a terminal (stdin and stdout both are one) lines are edited with history, and what arrives while somebody types is
//! shown above the line being typed. Otherwise lines are plain: stdin is read up to its line ends, stdout gets what is
//! printed, prompts only where they are asked for, and no escape codes.
//!
//! Reading blocks, so it has a thread of its own. It reads one line per request: a prompt is shown when its line is asked
//! for, never earlier, and a line that nobody waits for any more answers the next request. The thread may be inside a read
//! for ever; nobody joins it, and it ends with the process.
//!
//! # On the terminal
//! Rustyline's `ExternalPrinter` alone would not do: what it is given between the key that ends a line and the
//! end of `readline` lies in it until the next `readline`, is overtaken by what is printed in between, and a
//! second such message blocks. So we keep what is to be shown ourselves, and rustyline asks for it: whenever
//! it paints the prompt, everything that waits is painted before it ([`Painter`]). The external printer is
//! only the bell that makes it paint. What still waits when `readline` returns is written then. Hence every
//! message is shown once and in order.
//!
//! Invariant: while [`EditorStage::Idle`], nothing waits and the cursor stands at the start of a line.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, thread};

use anyhow::Context as _;
use causerie_core::content::text::visible;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

/// A line longer than this is refused: nobody types it, and it would have to be held in memory.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Begins text that some editors write, and is none of it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Lines that may wait for the terminal before [`Console::message`] blocks, as it would on a full pipe. It is
/// a guess: they wait only while rustyline is in the middle of a key sequence.
const WAITING_LINES_MAX: usize = 4096;

/// Stands on a terminal before a line that is asked for without a prompt.
const TYPING_PROMPT: &str = "> ";

/// Makes rustyline paint and shows nothing itself: it must end in a line end, which is undone beforehand.
/// (In the top row of a screen there is no going up; there it leaves an empty line.)
const BELL: &str = "\x1b[A\n";

/// Time that an escape key may be the start of a sequence. Without a limit rustyline would wait for the next
/// key, and paint nothing meanwhile. It is a guess.
const ESCAPE_TIMEOUT_MS: u16 = 100;

/// Time that the end of the program waits for rustyline to hold still. It is a guess: usually that takes well
/// under a millisecond, but in the middle of a key sequence rustyline waits for a person.
const STOP_MAX: Duration = Duration::from_millis(500);

/// Input, or its end.
#[derive(Debug)]
pub(crate) enum Input {
    /// A line, without its end.
    Line(String),
    /// Nothing of a line is used, and why: it is not UTF-8, it is too long, or reading failed.
    Unusable(String),
    /// Ctrl-C at the prompt; what was typed of the line is gone. In a pipe Ctrl-C is only a signal.
    Interrupted,
    /// Nothing comes any more. Whoever asks again gets it again.
    End,
}

/// Stdin, stdout and stderr of a chat. Open one at most, and keep it until the program ends: dropping it puts
/// the terminal back. Signals that end the process at once (SIGTERM) must be caught for that.
#[derive(Debug)]
pub(crate) struct Console {
    requests: SyncSender<String>,
    inputs: mpsc::Receiver<Input>,
    /// The prompt of the request that has not been answered yet.
    asked: Option<String>,
    ended: bool,
    /// None in a pipe.
    terminal: Option<ConsoleTerminal>,
}

impl Console {
    /// Opens standard input and output.
    pub(crate) fn open() -> anyhow::Result<Self> {
        if io::stdin().is_terminal()
            && io::stdout().is_terminal()
            && let Some((terminal, mut lines)) = ConsoleTerminal::open()?
        {
            return Self::start(Some(terminal), move |prompt| lines.read(prompt));
        }
        // A terminal that cannot move its cursor (TERM=dumb) is treated like a pipe.
        Self::plain(io::BufReader::new(io::stdin()))
    }

    /// Reads from `reader`, which is something else than stdin in tests.
    fn plain(mut reader: impl BufRead + Send + 'static) -> anyhow::Result<Self> {
        let mut is_first = true;
        Self::start(None, move |_| {
            let mut input = read_line(&mut reader, LINE_BYTES_MAX)?;
            if let Input::Line(line) = &mut input
                && std::mem::take(&mut is_first)
                && line.starts_with(BYTE_ORDER_MARK)
            {
                line.drain(..BYTE_ORDER_MARK.len_utf8());
            }
            Ok(input)
        })
    }

    fn start(
        terminal: Option<ConsoleTerminal>,
        mut read: impl FnMut(&str) -> io::Result<Input> + Send + 'static,
    ) -> anyhow::Result<Self> {
        // At most one request is unanswered, so neither side ever waits to send.
        let (requests, wanted) = sync_channel::<String>(1);
        let (lines, inputs) = mpsc::channel(1);
        let reading = move || {
            for prompt in wanted {
                let (input, failed) = match read(&prompt) {
                    Ok(input) => (input, false),
                    Err(error) => (Input::Unusable(format!("input failed: {error}")), true),
                };
                if lines.blocking_send(input).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("console".into())
            .spawn(reading)
            .context("cannot start the thread that reads input")?;
        Ok(Self { requests, inputs, asked: None, ended: false, terminal })
    }

    /// Returns whether somebody sits at a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The next line. A prompt is shown where one is given, in a pipe too. Without one, a terminal shows a small
    /// one of its own, and the line can be recalled later.
    ///
    /// Cancelling it loses nothing: the line then answers the next call. A prompt that is visible is not shown
    /// again; where another one is, on a terminal, the new one is shown above it.
    pub(crate) async fn ask(&mut self, prompt: &str) -> Input {
        if self.ended {
            return Input::End;
        }
        self.request(prompt);
        // All before this await happens at once, and `recv` loses nothing when cancelled.
        let input = self.inputs.recv().await.unwrap_or(Input::End);
        self.asked = None;
        self.ended = matches!(input, Input::End);
        input
    }

    fn request(&mut self, prompt: &str) {
        let unanswered = self.asked.is_some();
        if self.asked.as_deref() != Some(prompt) && !prompt.is_empty() {
            // A closed standard output is noticed when there is a message for it.
            let _ = match &self.terminal {
                None => write_at_once(&mut io::stdout().lock(), prompt),
                Some(terminal) if unanswered => terminal.screen.show(&format!("{}\n", visible(prompt))),
                Some(_) => Ok(()),
            };
        }
        self.asked = Some(prompt.to_owned());
        if !unanswered {
            // A reader that is gone is noticed as the end of its lines.
            let _ = self.requests.send(prompt.to_owned());
        }
    }

    /// One line for standard output, at once. An error means that nobody reads it any more.
    ///
    /// The line is made [`visible`], so that it cannot be two lines nor command a terminal. Blocks while
    /// standard output takes nothing.
    pub(crate) fn message(&self, line: &str) -> io::Result<()> {
        let line = format!("{}\n", visible(line));
        match &self.terminal {
            Some(terminal) => terminal.screen.show(&line),
            None => write_at_once(&mut io::stdout().lock(), &line),
        }
    }

    /// One line beside the messages: on standard error; dimmed where that is the terminal.
    pub(crate) fn notice(&self, line: &str) {
        let line = visible(line);
        // Nobody may read it, and there is nowhere else to say so.
        let _ = match &self.terminal {
            Some(terminal) if terminal.shows_notices => {
                let (on, off) = if terminal.dims_notices { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
                terminal.screen.show(&format!("{on}{line}{off}\n"))
            }
            _ => write_at_once(&mut io::stderr().lock(), &format!("{line}\n")),
        };
    }
}

fn write_at_once(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn too_long(limit: usize) -> Input {
    Input::Unusable(format!("a line of more than {limit} bytes was not read"))
}

/// The next line of `reader`, holding hardly more of it than `limit` bytes.
fn read_line(reader: &mut impl BufRead, limit: usize) -> io::Result<Input> {
    let mut line = Vec::new();
    // Room for a line end of two bytes.
    let most = u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_add(2));
    if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(Input::End);
    }
    let ended = line.pop_if(|last| *last == b'\n').is_some();
    let _ = line.pop_if(|last| ended && *last == b'\r');
    if line.len() > limit {
        if !ended {
            reader.skip_until(b'\n')?;
        }
        return Ok(too_long(limit));
    }
    let not_utf8 = |_| Input::Unusable("a line that is not UTF-8 was not read".into());
    Ok(String::from_utf8(line).map_or_else(not_utf8, Input::Line))
}

/// Terminal of a [`Console`].
#[derive(Debug)]
struct ConsoleTerminal {
    screen: Arc<Screen>,
    /// Standard error is a terminal as well; if not, notices go where it was sent.
    shows_notices: bool,
    dims_notices: bool,
    #[cfg(unix)]
    original: nix::sys::termios::Termios,
}

impl ConsoleTerminal {
    /// None if the terminal cannot move its cursor.
    fn open() -> anyhow::Result<Option<(Self, TerminalLines)>> {
        #[cfg(unix)]
        let original =
            nix::sys::termios::tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        // The painter sits where colours are made, so they are on; it colours nothing.
        let config =
            Config::builder().color_mode(ColorMode::Forced).keyseq_timeout(Some(ESCAPE_TIMEOUT_MS)).build();
        let mut editor =
            Editor::<Painter, DefaultHistory>::with_config(config).context("cannot edit lines here")?;
        let Ok(bell) = editor.create_external_printer() else { return Ok(None) };
        let (screen, rings) = Screen::new();
        let screen = Arc::new(screen);
        editor.set_helper(Some(Painter(Arc::clone(&screen))));
        let ringing = Arc::clone(&screen);
        thread::Builder::new()
            .name("console-bell".into())
            .spawn(move || ring_when_asked(&rings, &ringing, bell))
            .context("cannot start the thread that wakes the line editor")?;
        let terminal = Self {
            screen: Arc::clone(&screen),
            shows_notices: io::stderr().is_terminal(),
            dims_notices: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            #[cfg(unix)]
            original,
        };
        Ok(Some((terminal, TerminalLines { editor, screen, pasted: VecDeque::new() })))
    }
}

impl Drop for ConsoleTerminal {
    /// Puts the terminal back if the reading thread is in the middle of a line, where it stays for ever.
    fn drop(&mut self) {
        let Some(rest) = self.screen.stop_editor() else { return };
        #[cfg(unix)]
        {
            use nix::sys::termios::{SetArg, tcsetattr};
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.original);
        }
        // What rustyline would have written: synchronized output ends, bracketed paste is off. Then, in place
        // of the line being typed, all that was still to be shown, and that line. Failing, there is nobody
        // left to tell.
        let _ = write_at_once(&mut io::stdout().lock(), &format!("\x1b[?2026l\x1b[?2004l\r\x1b[J{rest}"));
    }
}

/// The terminal as a place where lines are shown, also while rustyline edits one.
#[derive(Debug)]
struct Screen {
    state: Mutex<ConsoleState>,
    /// Signalled when waiting lines were painted and when the stage changed.
    changed: Condvar,
    /// Asks for the bell. When it is full the bell is about to ring anyway.
    ring: SyncSender<()>,
}

#[derive(Debug, Default)]
struct ConsoleState {
    stage: EditorStage,
    /// Prompt that the editor was started with.
    prompt: String,
    /// Whole lines that rustyline has not painted yet; empty while idle.
    waiting: String,
    waiting_lines: usize,
    /// Error of writing outside of `message`, for its next caller.
    failure: Option<io::Error>,
    /// The editor is to stop where it is, since the program ends.
    stopping: bool,
    /// The line as far as it was typed when the editor stopped.
    stopped_in: Option<String>,
}

/// Stage of the line editor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum EditorStage {
    /// Not running: whoever shows something writes it.
    #[default]
    Idle,
    /// Running but nothing painted yet, and perhaps the terminal not yet set up.
    Starting,
    /// Running, and paints what waits when the bell rings.
    Editing,
}

impl ConsoleState {
    fn take_waiting(&mut self) -> String {
        self.waiting_lines = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Screen {
    /// Rings come out of the other half.
    fn new() -> (Self, Receiver<()>) {
        let (ring, rings) = sync_channel(1);
        (Self { state: Mutex::default(), changed: Condvar::new(), ring }, rings)
    }

    fn lock(&self) -> MutexGuard<'_, ConsoleState> {
        // Nothing that holds it leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows whole lines.
    fn show(&self, lines: &str) -> io::Result<()> {
        let full = |state: &mut ConsoleState| {
            state.stage != EditorStage::Idle && state.waiting_lines >= WAITING_LINES_MAX
        };
        let mut state = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.stage == EditorStage::Idle {
            return write_at_once(&mut io::stdout().lock(), lines);
        }
        state.waiting.push_str(lines);
        state.waiting_lines += 1;
        drop(state);
        let _ = self.ring.try_send(());
        Ok(())
    }

    /// The editor is about to start. Does not return if the program ends: then it must not start any more.
    fn editor_starts(&self, prompt: &str) {
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            park_for_ever();
        }
        state.stage = EditorStage::Starting;
        prompt.clone_into(&mut state.prompt);
    }

    /// The editor is about to paint its prompt: gives what is to stand above it.
    fn editor_paints(&self) -> String {
        let mut state = self.lock();
        state.stage = EditorStage::Editing;
        if state.stopping {
            // Left for whoever stops the editor.
            return String::new();
        }
        self.changed.notify_all();
        state.take_waiting()
    }

    /// The editor is about to paint the line behind its prompt. Does not return if the program ends: from here
    /// on the editor neither writes nor changes the terminal's settings.
    fn editor_paints_line(&self, line: &str) {
        let mut state = self.lock();
        if !state.stopping {
            return;
        }
        state.stopped_in = Some(line.to_owned());
        self.changed.notify_all();
        drop(state);
        park_for_ever();
    }

    fn editor_ended(&self, failed: bool) {
        let mut state = self.lock();
        state.stage = EditorStage::Idle;
        let waiting = state.take_waiting();
        if let Err(error) = write_at_once(&mut io::stdout().lock(), &waiting) {
            state.failure = Some(error);
        } else if failed {
            // The terminal went away, and perhaps what was painted last with it.
            state.failure = Some(io::ErrorKind::BrokenPipe.into());
        }
        self.changed.notify_all();
    }

    /// Has the editor stop where it is. Returns what is still to be shown, or None if it does not run.
    fn stop_editor(&self) -> Option<String> {
        let mut state = self.lock();
        state.stopping = true;
        // If it is only starting it will paint anyway. It must get that far, for else it would change the
        // settings of the terminal after they were put back.
        let _ = self.ring.try_send(());
        let runs = |state: &mut ConsoleState| state.stage != EditorStage::Idle && state.stopped_in.is_none();
        let (mut state, _) =
            self.changed.wait_timeout_while(state, STOP_MAX, runs).unwrap_or_else(PoisonError::into_inner);
        if state.stage == EditorStage::Idle {
            return None;
        }
        let mut rest = state.take_waiting();
        if let Some(line) = state.stopped_in.take() {
            rest.push_str(&format!("{}{}\n", state.prompt, visible(&line)));
        }
        Some(rest)
    }
}

/// Parks the reading thread; the process ends without it.
fn park_for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// Rings for whoever asks. On a thread of its own, since the bell blocks while rustyline does not listen.
fn ring_when_asked(rings: &Receiver<()>, screen: &Screen, mut bell: impl ExternalPrinter) {
    while rings.recv().is_ok() {
        let wanted = {
            let state = screen.lock();
            state.stage == EditorStage::Editing && (!state.waiting.is_empty() || state.stopping)
        };
        // Before it edits, rustyline paints anyway; afterwards what waits is written without it.
        if wanted && bell.print(BELL.to_owned()).is_err() {
            return;
        }
    }
}

/// Lines typed on the terminal; lives on the reading thread.
struct TerminalLines {
    editor: Editor<Painter, DefaultHistory>,
    screen: Arc<Screen>,
    /// The further lines of a paste that had several.
    pasted: VecDeque<String>,
}

impl TerminalLines {
    fn read(&mut self, prompt: &str) -> io::Result<Input> {
        let line = match self.pasted.pop_front() {
            Some(line) => line,
            None => match self.edit(if prompt.is_empty() { TYPING_PROMPT } else { prompt }) {
                Ok(typed) => {
                    self.pasted.extend(typed.lines().map(str::to_owned));
                    self.pasted.pop_front().unwrap_or_default()
                }
                Err(ReadlineError::Interrupted) => return Ok(Input::Interrupted),
                Err(ReadlineError::Eof) => return Ok(Input::End),
                Err(ReadlineError::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            },
        };
        if line.len() > LINE_BYTES_MAX {
            return Ok(too_long(LINE_BYTES_MAX));
        }
        if prompt.is_empty() && !line.is_empty() {
            // A line that cannot be kept in the history is still a line.
            let _ = self.editor.add_history_entry(line.as_str());
        }
        Ok(Input::Line(line))
    }

    fn edit(&mut self, prompt: &str) -> rustyline::Result<String> {
        self.screen.editor_starts(prompt);
        let typed = self.editor.readline(prompt);
        self.screen.editor_ended(matches!(typed, Err(ReadlineError::Io(_))));
        typed
    }
}

/// Has rustyline paint what waits above the prompt.
///
/// It is asked for the prompt's looks each time the prompt is painted from the start of its first line, after
/// what stood there was cleared; the layout is computed from the bare prompt. Lines before it therefore end up
/// above it and stay there.
struct Painter(Arc<Screen>);

impl Highlighter for Painter {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        let lines = self.0.editor_paints();
        if lines.is_empty() { Cow::Borrowed(prompt) } else { Cow::Owned(lines + prompt) }
    }

    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        self.0.editor_paints_line(line);
        Cow::Borrowed(line)
    }
}

impl Helper for Painter {}
impl Hinter for Painter {
    type Hint = String;
}
impl Validator for Painter {}
impl Completer for Painter {
    type Candidate = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &[u8], limit: usize) -> Vec<String> {
        let mut reader = io::BufReader::with_capacity(3, input);
        let mut seen = Vec::new();
        loop {
            match read_line(&mut reader, limit).expect("bytes in memory") {
                Input::Line(line) => seen.push(line),
                Input::Unusable(why) => seen.push(why),
                Input::End => return seen,
                Input::Interrupted => unreachable!("nobody types"),
            }
        }
    }

    #[test]
    fn lines_end_at_line_ends_and_at_the_end() {
        assert_eq!(read_all(b"one\r\n\ntwo\rthree", 100), ["one", "", "two\rthree"]);
        assert_eq!(read_all(b"", 100), [""; 0]);
        assert_eq!(read_all(b"last\r", 100), ["last\r"]);
    }

    #[test]
    fn a_line_over_the_limit_is_dropped_and_the_next_one_read() {
        let long = "a line of more than 4 bytes was not read";
        assert_eq!(
            read_all(b"1234\n12345\n1234\r\n12345\r\n123456789\nok", 4),
            ["1234", long, "1234", long, long, "ok"]
        );
        assert_eq!(read_all(b"123456789", 4), [long]);
        assert_eq!(read_all(b"12345", 4), [long]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_dropped_and_the_next_one_read() {
        let bad = "a line that is not UTF-8 was not read";
        assert_eq!(read_all(b"\xff\xfe\n\xc3\xa9\n", 100), [bad, "\u{e9}"]);
    }

    #[tokio::test]
    async fn a_line_whose_reader_was_cancelled_answers_the_next() {
        let (stdin, mut typing) = io::pipe().expect("pipe");
        let mut console = Console::plain(io::BufReader::new(stdin)).expect("a thread");
        for number in 0..200 {
            // Cancelled before the line was written, and again at any time around its arrival.
            tokio::select! {
                biased;
                _ = console.ask("") => panic!("nothing was typed"),
                () = tokio::task::yield_now() => {}
            }
            writeln!(typing, "{number}").expect("an open pipe");
            let input = loop {
                tokio::select! {
                    input = console.ask("") => break input,
                    () = tokio::task::yield_now() => {}
                }
            };
            assert!(matches!(input, Input::Line(line) if line == number.to_string()));
        }
        drop(typing);
        assert!(matches!(console.ask("").await, Input::End));
        assert!(matches!(console.ask("").await, Input::End));
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_no_text_where_it_begins_the_input() {
        let input = "\u{feff}one\r\n\u{feff}two";
        let mut console = Console::plain(io::Cursor::new(input)).expect("a thread");
        assert!(matches!(console.ask("").await, Input::Line(line) if line == "one"));
        assert!(matches!(console.ask("").await, Input::Line(line) if line == "\u{feff}two"));
    }

    #[tokio::test]
    async fn nothing_is_read_before_it_is_asked_for() {
        let (stdin, mut typing) = io::pipe().expect("pipe");
        typing.write_all(b"one\ntwo\n").expect("an open pipe");
        // One byte at a time, so that what was not asked for stays in the pipe.
        let mut rest = stdin.try_clone().expect("a second end");
        let mut console = Console::plain(io::BufReader::with_capacity(1, stdin)).expect("a thread");
        assert!(matches!(console.ask("").await, Input::Line(line) if line == "one"));
        drop(console);
        drop(typing);
        let mut left = String::new();
        rest.read_to_string(&mut left).expect("text");
        assert_eq!(left, "two\n");
    }

    #[tokio::test]
    async fn input_that_fails_is_reported_and_then_over() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("unplugged"))
            }
        }
        let mut console = Console::plain(io::BufReader::new(Broken)).expect("a thread");
        assert!(matches!(console.ask("").await, Input::Unusable(why) if why == "input failed: unplugged"));
        assert!(matches!(console.ask("").await, Input::End));
    }

    #[test]
    fn what_arrives_while_a_line_is_edited_is_painted_once_and_in_order() {
        let (screen, rings) = Screen::new();
        screen.editor_starts(TYPING_PROMPT);
        screen.show("one\n").expect("kept");
        screen.show("two\n").expect("kept");
        assert!(rings.try_recv().is_ok(), "the bell is asked for");
        assert_eq!(screen.editor_paints(), "one\ntwo\n");
        assert_eq!(screen.editor_paints(), "");
        screen.editor_ended(false);
        assert_eq!(screen.lock().stage, EditorStage::Idle);
    }

    #[test]
    fn a_full_screen_blocks_until_it_is_painted() {
        let (screen, _rings) = Screen::new();
        screen.editor_starts(TYPING_PROMPT);
        for _ in 0..WAITING_LINES_MAX {
            screen.show("line\n").expect("kept");
        }
        thread::scope(|scope| {
            let last = scope.spawn(|| screen.show("last\n"));
            let mut painted = screen.editor_paints();
            last.join().expect("no panic").expect("kept");
            painted += &screen.editor_paints();
            assert_eq!(painted.lines().count(), WAITING_LINES_MAX + 1);
            assert!(painted.ends_with("last\n"));
        });
    }

    #[test]
    fn an_editor_that_is_stopped_leaves_what_was_to_be_shown() {
        let (screen, _rings) = Screen::new();
        let screen = Arc::new(screen);
        screen.editor_starts(TYPING_PROMPT);
        screen.show("last words\n").expect("kept");
        // Before it paints for the first time, or the painting would show them.
        screen.lock().stopping = true;
        let editor = Arc::clone(&screen);
        let editing = thread::spawn(move || {
            assert_eq!(editor.editor_paints(), "");
            editor.editor_paints_line("half a li");
        });
        assert_eq!(screen.stop_editor().as_deref(), Some("last words\n> half a li\n"));
        assert!(!editing.is_finished(), "it must never paint again");
    }

    #[test]
    fn an_editor_that_does_not_run_is_not_started_any_more() {
        let (screen, _rings) = Screen::new();
        let screen = Arc::new(screen);
        assert_eq!(screen.stop_editor(), None);
        let editor = Arc::clone(&screen);
        let editing = thread::spawn(move || editor.editor_starts(TYPING_PROMPT));
        thread::sleep(Duration::from_millis(20));
        assert!(!editing.is_finished(), "it would leave the terminal raw");
        assert_eq!(screen.lock().stage, EditorStage::Idle);
    }

    #[test]
    fn a_terminal_that_went_away_is_an_error_for_the_next_message() {
        let (screen, _rings) = Screen::new();
        screen.editor_starts(TYPING_PROMPT);
        screen.editor_ended(true);
        let error = screen.show("one\n").expect_err("nobody sees it");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
