//! The terminal while we have it, and as it was once we do not.

use std::env;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::style::force_color_output;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};

use super::model::Model;
use super::view;
use crate::config::chat::Notify;

type Ratatui = ratatui::Terminal<CrosstermBackend<Stdout>>;

/// Returns whether there is a terminal that can be drawn on.
pub(crate) fn is_possible() -> bool {
    let can_move = env::var_os("TERM").is_none_or(|term| term != "dumb" && !term.is_empty());
    io::stdin().is_terminal() && io::stdout().is_terminal() && can_move
}

/// Dropping it puts the terminal back.
pub(super) struct Terminal {
    drawn: Ratatui,
    mouse: bool,
}

impl Terminal {
    pub(super) fn enter(size: (u16, u16)) -> io::Result<Self> {
        restore_on_panic();
        // The theme decides, which heeds NO_COLOR unless another one is asked for.
        force_color_output(true);
        let terminal = Self { drawn: blank(size)?, mouse: false };
        // Dropped from here on, it leaves.
        terminal.take()?;
        Ok(terminal)
    }

    fn take(&self) -> io::Result<()> {
        IS_OURS.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Clear(ClearType::All))?;
        if self.mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        Ok(())
    }

    /// Draws all anew, at this size. (Ratatui's own clearing asks the terminal where the cursor is, and would wait for
    /// an answer that the reader of keys takes.)
    pub(super) fn redraw(&mut self, size: (u16, u16)) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.drawn = blank(size)?;
        Ok(())
    }

    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        self.drawn.draw(|frame| view::draw(model, frame))?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    pub(super) fn mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    pub(super) fn bell(&self) -> io::Result<()> {
        io::stdout().write_all(b"\x07")?;
        io::stdout().flush()
    }

    /// Sends a notice to the desktop. The text has no control characters.
    pub(super) fn notify(&self, way: Notify, text: &str) -> io::Result<()> {
        io::stdout().write_all(notice(way, text).as_bytes())?;
        io::stdout().flush()
    }

    /// Into the clipboard, also from afar, if the terminal does that.
    pub(super) fn copy(&self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Stops the process, as Ctrl-Z does; returns when it goes on.
    #[cfg(unix)]
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // Not SIGTSTP: that is caught, and does nothing where no shell looks after the process.
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)?;
        self.take()
    }

    /// Somebody stopped the process from outside, and the terminal may be as others left it.
    #[cfg(unix)]
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        disable_raw_mode()?;
        self.take()
    }
}

/// Returns the sequence that asks the terminal for a notice on the desktop.
fn notice(way: Notify, text: &str) -> String {
    match way {
        Notify::Osc9 => format!("\x1b]9;{text}\x1b\\"),
        // A semicolon would end the text, and there is no other way to write one.
        Notify::Osc777 => format!("\x1b]777;notify;causerie;{}\x1b\\", text.replace(';', ",")),
        Notify::Bell | Notify::Off => String::new(),
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

fn blank((columns, lines): (u16, u16)) -> io::Result<Ratatui> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, lines));
    Ratatui::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

/// True while something of ours may be on the terminal.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Leaves nothing of ours on the terminal. Where that fails nobody is left to be told. The second time would put the
/// cursor back as well, over what a panic has told meanwhile.
fn leave() {
    if !IS_OURS.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
    for told in std::mem::take(&mut *untold()) {
        eprintln!("{told}");
    }
}

/// Panics in the background while the screen was ours.
static UNTOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn untold() -> MutexGuard<'static, Vec<String>> {
    UNTOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic is told where it can be read. One in a task of the background ends that task only, and waits until the screen is
/// not ours any more.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    let ours = std::thread::current().id();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == ours {
                leave();
            } else if IS_OURS.load(Ordering::Relaxed) {
                return untold().push(panic.to_string());
            }
            told(panic);
        }));
    });
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use jiff::tz::TimeZone;
    use pty_process::Size;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const INSIDE: &str = "CAUSERIE_TEST_INSIDE_A_TERMINAL";

    /// Runs itself again in a pseudo-terminal, takes that one, and panics there.
    #[tokio::test]
    async fn a_panic_gives_the_terminal_back_and_is_told_where_it_can_be_read() {
        if env::var_os(INSIDE).is_some() {
            let mut terminal = Terminal::enter((80, 24)).expect("a terminal");
            let model = Model::new("example.org:12343", "Ann", "lobby", TimeZone::UTC);
            terminal.draw(&model).expect("a terminal");
            terminal.mouse(true).expect("a terminal");
            let other = std::thread::spawn(|| panic!("in the background"));
            assert!(other.join().is_err());
            io::stdout().write_all(b"it is still ours").expect("a terminal");
            panic!("on purpose");
        }
        let (mut pty, pts) = pty_process::open().expect("a pseudo-terminal");
        pty.resize(Size::new(24, 80)).expect("a size");
        let name = "tui::terminal::tests::a_panic_gives_the_terminal_back_and_is_told_where_it_can_be_read";
        let command = pty_process::Command::new(env::current_exe().expect("a path"))
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .env("RUST_BACKTRACE", "0")
            .env("TERM", "xterm-256color")
            .kill_on_drop(true);
        let mut child = command.spawn(pts).expect("it runs already");
        let (mut parser, mut was_ours) = (vt100::Parser::new(24, 80, 0), false);
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = pty.read(&mut bytes).await {
            // Byte for byte, so that no state in between is missed.
            for byte in &bytes[..read] {
                parser.process(&[*byte]);
                let screen = parser.screen();
                let is_told = screen.contents().contains("in the background");
                assert!(!screen.alternate_screen() || !is_told, "over what is shown");
                was_ours |= screen.alternate_screen()
                    && screen.bracketed_paste()
                    && screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None
                    && screen.contents().contains("it is still ours");
            }
        }
        assert!(!child.wait().await.expect("it ended").success());
        let screen = parser.screen();
        let shown = screen.contents();
        assert!(was_ours, "{shown}");
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(), "{shown}");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert!(shown.contains("on purpose"), "{shown}");
        assert!(shown.contains("in the background"), "{shown}");
    }

    #[test]
    fn a_notice_for_the_desktop_is_one_sequence() {
        let text = "In lobby, Bob: Ann; look";
        assert_eq!(notice(Notify::Osc9, text), "\x1b]9;In lobby, Bob: Ann; look\x1b\\");
        assert_eq!(notice(Notify::Osc777, text), "\x1b]777;notify;causerie;In lobby, Bob: Ann, look\x1b\\");
        assert_eq!(notice(Notify::Bell, text) + &notice(Notify::Off, text), "");
    }
}
