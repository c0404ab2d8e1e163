//! The terminal while we have it, and as it was once we do not.

use std::env;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
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
use crate::setup::Notify;

type Ratatui = ratatui::Terminal<CrosstermBackend<Stdout>>;

/// Whether there is a terminal that can be drawn on.
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
        let terminal = Self { drawn: blank(size)?, mouse: false };
        // Dropped from here on, it leaves.
        terminal.take()?;
        Ok(terminal)
    }

    fn take(&self) -> io::Result<()> {
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

    /// To the desktop. The text has no control characters.
    pub(super) fn notify(&self, way: Notify, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        match way {
            Notify::Osc9 => write!(out, "\x1b]9;{text}\x1b\\")?,
            Notify::Osc777 => write!(out, "\x1b]777;notify;causerie;{text}\x1b\\")?,
            Notify::Bell | Notify::Off => {}
        }
        out.flush()
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

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

fn blank((columns, lines): (u16, u16)) -> io::Result<Ratatui> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, lines));
    Ratatui::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

/// Leaves nothing of ours on the terminal. Where that fails nobody is left to be told.
fn leave() {
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

/// A panic is told where it can be read. One in a task of the background ends that task only.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some("main") {
                leave();
            }
            told(panic);
        }));
    });
}
