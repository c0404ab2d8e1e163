//! The colours of names and alarms. All else is bold, dim or reversed, in the terminal's own colours.

use std::env;

use ratatui::style::Color;

use crate::config::chat::Theme;

/// The colours in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Palette {
    pub(super) names: &'static [Color],
    pub(super) alert: Color,
}

/// Palette without colours.
pub(super) const MONO: Palette = Palette { names: &[Color::Reset], alert: Color::Reset };

/// Returns the colours of a theme; if none was asked for, `NO_COLOR` is heeded.
pub(super) fn palette(theme: Option<Theme>) -> Palette {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let theme = theme.unwrap_or(if no_color { Theme::Mono } else { Theme::Auto });
    let has_256 = env::var_os("COLORTERM").is_some_and(|value| !value.is_empty())
        || env::var("TERM").is_ok_and(|term| term.contains("256color") || term.contains("direct"));
    of(theme, has_256)
}

/// The first 16 colours are as the terminal's owner has set them; the others are the same everywhere.
fn of(theme: Theme, has_256: bool) -> Palette {
    use Color::{
        Blue, Indexed, LightBlue, LightCyan, LightGreen, LightMagenta, LightRed, LightYellow, Magenta, Red,
    };
    let (names, alert): (&[Color], Color) = match (theme, has_256) {
        (Theme::Mono, _) => return MONO,
        (Theme::Dark, _) => (&[LightCyan, LightGreen, LightMagenta, LightYellow, LightBlue], LightRed),
        (Theme::Light, true) => {
            (&[Indexed(22), Indexed(23), Indexed(94), Indexed(90), Indexed(25)], Indexed(88))
        }
        (Theme::Light, false) => (&[Blue, Magenta], Red),
        (Theme::Auto, true) => {
            (&[Indexed(28), Indexed(30), Indexed(63), Indexed(98), Indexed(130), Indexed(132)], Indexed(161))
        }
        (Theme::Auto, false) => (&[Magenta, LightBlue], Red),
    };
    Palette { names, alert }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a colour as xterm has it.
    fn rgb(color: Color) -> [u8; 3] {
        match color {
            Color::Red => [205, 0, 0],
            Color::Blue => [0, 0, 238],
            Color::Magenta => [205, 0, 205],
            Color::LightRed => [255, 0, 0],
            Color::LightGreen => [0, 255, 0],
            Color::LightYellow => [255, 255, 0],
            Color::LightBlue => [92, 92, 255],
            Color::LightMagenta => [255, 0, 255],
            Color::LightCyan => [0, 255, 255],
            Color::Indexed(n @ 16..=231) => {
                let part = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
                [(n - 16) / 36, (n - 16) / 6 % 6, (n - 16) % 6].map(part)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The contrast of the Web Content Accessibility Guidelines, from 1 to 21.
    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let light = |color: [u8; 3]| {
            let [r, g, b] = color.map(f64::from).map(|part| part / 255.0).map(|part| match part {
                ..=0.03928 => part / 12.92,
                _ => ((part + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let (a, b) = (light(a), light(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn colors_read_on_the_backgrounds_that_they_are_for() {
        const BLACK: [u8; 3] = [0; 3];
        const WHITE: [u8; 3] = [255; 3];
        for has_256 in [false, true] {
            let themes = [
                (Theme::Auto, &[BLACK, WHITE][..], if has_256 { 4.0 } else { 3.5 }),
                (Theme::Dark, &[BLACK], 4.0),
                (Theme::Light, &[WHITE], 4.5),
            ];
            for (theme, grounds, least) in themes {
                let palette = of(theme, has_256);
                for &color in palette.names.iter().chain([&palette.alert]) {
                    for &ground in grounds {
                        let contrast = contrast(rgb(color), ground);
                        assert!(contrast >= least, "{theme:?}: {color:?} on {ground:?}: {contrast}");
                    }
                    assert!(has_256 || !matches!(color, Color::Indexed(_)), "{theme:?}: {color:?}");
                }
                assert!(!palette.names.contains(&palette.alert));
            }
        }
    }
}
