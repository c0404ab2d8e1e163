//! Charts of the results as SVG, and the figures beside them, so that what is measured in several runs comes
//! together.

use std::path::Path;

use anyhow::{Context, ensure};
use causerie_bench::LoadReport;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::loads::{LOADS, Load};
use crate::peer::{Kind, Peer};
use crate::results::{Measurement, p99};

/// The figures that are drawn; a run replaces those of what it has measured.
const FIGURES: &str = "figures.tsv";
const HEAD: &str = "load\tserver\tdeliveries/s\tp99 ms";
const WIDTH: u32 = 860;
const PANEL_HEIGHT: u32 = 250;
const LEGEND_WIDTH: u32 = 150;
const TITLE_HEIGHT: u32 = 40;
/// Causerie's colour, then those of the others of a kind.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 102, 178),
    RGBColor(224, 123, 32),
    RGBColor(74, 154, 84),
    RGBColor(142, 94, 170),
    RGBColor(140, 140, 140),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Medians of one load on one server.
#[derive(Clone, Copy, Debug)]
struct Figure {
    load: Load,
    peer: Peer,
    deliveries: f64,
    p99: f64,
}

impl Figure {
    fn of(measurement: &Measurement) -> Option<Self> {
        let Measurement { load, peer, reports, .. } = measurement;
        let deliveries = measurement.median(LoadReport::deliveries_per_second);
        let figure = Self { load: *load, peer: *peer, deliveries, p99: measurement.median(p99) };
        (!reports.is_empty() && !measurement.tls).then_some(figure)
    }

    fn parse(line: &str) -> anyhow::Result<Self> {
        let read = || {
            let mut words = line.split('\t');
            let (load, peer) = (words.next()?, words.next()?);
            Some(Self {
                load: LOADS.into_iter().find(|known| known.name == load)?,
                peer: Peer::ALL.into_iter().find(|known| known.name() == peer)?,
                deliveries: words.next()?.parse().ok()?,
                p99: words.next()?.parse().ok()?,
            })
        };
        read().with_context(|| format!("{FIGURES}: no load, server and two numbers: {line}"))
    }

    fn to_line(self) -> String {
        let Self { load, peer, deliveries, p99 } = self;
        format!("{}\t{}\t{deliveries:.0}\t{p99:.2}\n", load.name, peer.name())
    }

    fn colour(self) -> RGBColor {
        let mut kin = Peer::ALL.into_iter().filter(|peer| peer.kind() == self.peer.kind());
        COLOURS[kin.position(|peer| peer == self.peer).expect("it is one of all") % COLOURS.len()]
    }
}

/// Writes the charts into `dir`, and the figures, among those that are there from other runs.
pub(crate) fn write(dir: &Path, all: &[Measurement]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(FIGURES);
    let former = if path.exists() { std::fs::read_to_string(&path)? } else { String::new() };
    let figures = merged(parsed(&former)?, all.iter().filter_map(Figure::of).collect());
    let lines: String = figures.iter().map(|figure| figure.to_line()).collect();
    std::fs::write(path, format!("{HEAD}\n{lines}"))?;
    for (name, chart) in charts(&figures)? {
        std::fs::write(dir.join(name), chart)?;
    }
    Ok(())
}

fn parsed(text: &str) -> anyhow::Result<Vec<Figure>> {
    ensure!(text.is_empty() || text.starts_with(HEAD), "{FIGURES}: its first line is not: {HEAD}");
    text.lines().skip(1).map(Figure::parse).collect()
}

/// In the order of the loads, and of the servers.
fn merged(former: Vec<Figure>, new: Vec<Figure>) -> Vec<Figure> {
    let mut merged = Vec::new();
    for load in LOADS {
        for peer in Peer::ALL {
            let is_it = |figure: &&Figure| figure.load.name == load.name && figure.peer == peer;
            merged.extend(new.iter().find(is_it).or_else(|| former.iter().find(is_it)));
        }
    }
    merged
}

/// Names of files and what goes into them; none without something to draw.
fn charts(figures: &[Figure]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut charts = Vec::new();
    // At a given pace all deliver the same.
    let unbounded: Vec<_> = figures.iter().copied().filter(|f| is_common(f) && f.load.name != "d").collect();
    if !unbounded.is_empty() {
        let million = |figure: &Figure| figure.deliveries / 1e6;
        let title = "Million deliveries/s, by load: more is better";
        charts.push(("deliveries.svg", bars(&unbounded, title, Scale::Linear, million)?));
    }
    let common: Vec<_> = figures.iter().copied().filter(is_common).collect();
    if !common.is_empty() {
        let title = "99 of 100 messages are there after so many ms, by load: less is better";
        charts.push(("p99.svg", bars(&common, title, Scale::Decades, |figure| figure.p99)?));
    }
    let rooms: Vec<_> = figures.iter().copied().filter(is_about_rooms).collect();
    let rooms: Vec<_> = rooms
        .iter()
        .copied()
        .filter(|one| rooms.iter().any(|other| other.peer == one.peer && other.load.rooms != one.load.rooms))
        .collect();
    if !rooms.is_empty() {
        charts.push(("rooms.svg", lines_by_rooms(&rooms)?));
    }
    Ok(charts)
}

/// Returns whether it is of one of the loads that differ in the number of rooms only.
fn is_about_rooms(figure: &Figure) -> bool {
    figure.load.receivers == 10
}

/// Returns whether it is of a load that all servers get.
fn is_common(figure: &Figure) -> bool {
    figure.load.peers.is_empty()
}

/// Scale of a vertical axis.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Linear,
    /// Tenfold in equal steps.
    Decades,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Decades => value.log10(),
        }
    }

    fn label(self, place: f64) -> String {
        let value = match self {
            Self::Linear => place,
            Self::Decades => 10_f64.powf(place),
        };
        // No more digits than steps have.
        format!("{}", (value * 100.0).round() / 100.0)
    }

    /// Returns how many labels the axis may have.
    fn ticks(self, range: &std::ops::Range<f64>) -> usize {
        match self {
            Self::Linear => 5,
            // One a decade.
            Self::Decades => (range.end - range.start).ceil() as usize + 1,
        }
    }

    /// From where to where the axis goes.
    fn range(self, values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
        let greatest = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        match self {
            Self::Linear => 0.0..greatest * 1.05,
            Self::Decades => {
                let least = values.fold(greatest, f64::min).max(1e-3);
                (least.log10() - 0.01).floor()..greatest.log10() + 0.1
            }
        }
    }
}

/// A panel for each kind of client, in it a group for each load, in it a bar for each server.
fn bars(
    figures: &[Figure],
    title: &str,
    scale: Scale,
    value: impl Fn(&Figure) -> f64,
) -> anyhow::Result<String> {
    let panels: Vec<Vec<_>> = Kind::ALL
        .iter()
        .map(|kind| figures.iter().copied().filter(|f| f.peer.kind() == *kind).collect())
        .filter(|panel: &Vec<_>| !panel.is_empty())
        .collect();
    let mut svg = String::new();
    {
        let height = TITLE_HEIGHT + PANEL_HEIGHT * panels.len() as u32;
        let root = titled(&mut svg, height, title)?;
        for (area, panel) in root.split_evenly((panels.len(), 1)).iter().zip(&panels) {
            let area = with_legend(area, panel)?;
            let mut loads: Vec<_> = panel.iter().map(|figure| figure.load).collect();
            loads.dedup_by_key(|load| load.name);
            let range = scale.range(panel.iter().map(&value));
            let bottom = range.start;
            let ticks = scale.ticks(&range);
            let mut chart = ChartBuilder::on(&area)
                .caption(panel[0].peer.kind().title(), ("sans-serif", 15))
                .margin_right(8)
                .x_label_area_size(26)
                .y_label_area_size(48)
                .build_cartesian_2d(0.0..loads.len() as f64, range)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(0)
                .y_labels(ticks)
                .light_line_style(TRANSPARENT)
                .y_label_formatter(&|place| scale.label(*place))
                .label_style(("sans-serif", 12))
                .draw()?;
            for (group, load) in loads.iter().enumerate() {
                let bars: Vec<_> = panel.iter().filter(|figure| figure.load.name == load.name).collect();
                let width = 0.8 / bars.len() as f64;
                chart.draw_series(bars.iter().enumerate().map(|(n, figure)| {
                    let left = group as f64 + 0.1 + n as f64 * width;
                    let corners = [(left, bottom), (left + width * 0.9, scale.place(value(figure)))];
                    Rectangle::new(corners, figure.colour().filled())
                }))?;
                let label = EmptyElement::at((group as f64 + 0.5, bottom))
                    + Text::new(load.name, (0, 7), text(13).pos(Pos::new(HPos::Center, VPos::Top)));
                chart.draw_series([label])?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

/// Deliveries by the number of rooms, a line for each server.
fn lines_by_rooms(figures: &[Figure]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let title = "Million deliveries/s in rooms of 10 who all talk, by number of rooms";
        let root = titled(&mut svg, TITLE_HEIGHT + PANEL_HEIGHT + 60, title)?;
        let area = with_legend(&root, figures)?;
        let rooms = |figure: &Figure| f64::from(figure.load.rooms).log10();
        let million = |figure: &Figure| figure.deliveries / 1e6;
        let most = figures.iter().map(rooms).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.1..most + 0.1, Scale::Linear.range(figures.iter().map(million)))?;
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|place| Scale::Decades.label(*place))
            .y_label_formatter(&|place| Scale::Linear.label(*place))
            .label_style(("sans-serif", 12))
            .draw()?;
        for peer in Peer::ALL {
            let line: Vec<_> = figures.iter().filter(|figure| figure.peer == peer).collect();
            let Some(colour) = line.first().map(|figure| figure.colour()) else { continue };
            let points: Vec<_> = line.iter().map(|figure| (rooms(figure), million(figure))).collect();
            chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

fn titled<'a>(svg: &'a mut String, height: u32, title: &str) -> anyhow::Result<Area<'a>> {
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    // A page may be dark.
    root.fill(&WHITE)?;
    Ok(root.titled(title, text(18))?)
}

/// Names the servers at the right; what is left of the area.
fn with_legend<'a>(area: &Area<'a>, figures: &[Figure]) -> anyhow::Result<Area<'a>> {
    let (rest, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
    let named = Peer::ALL.into_iter().filter_map(|peer| figures.iter().find(|figure| figure.peer == peer));
    for (n, figure) in named.enumerate() {
        let top = 34 + 20 * n as i32;
        legend.draw(&Rectangle::new([(4, top), (16, top + 12)], figure.colour().filled()))?;
        let stores = if figure.peer.stores() { " (stores)" } else { "" };
        legend.draw(&Text::new(format!("{}{stores}", figure.peer.name()), (22, top), text(12)))?;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(load: &str, peer: Peer, deliveries: f64) -> Figure {
        let load = LOADS.into_iter().find(|known| known.name == load).unwrap();
        Figure { load, peer, deliveries, p99: 2.5 }
    }

    fn lines(figures: &[Figure]) -> Vec<String> {
        figures.iter().map(|figure| figure.to_line()).collect()
    }

    #[test]
    fn a_run_replaces_what_it_has_measured_and_nothing_else() {
        let former = "load\tserver\tdeliveries/s\tp99 ms\nd\tnats\t20000\t1.65\na\tnats\t1631440\t14.61\n";
        let former = parsed(former).unwrap();
        let new = vec![figure("a", Peer::Nats, 3e6), figure("a", Peer::Causerie, 4e6)];
        let expected = ["a\tcauserie\t4000000\t2.50\n", "a\tnats\t3000000\t2.50\n", "d\tnats\t20000\t1.65\n"];
        assert_eq!(lines(&merged(former, new)), expected);
        for bad in ["load\nserver", "load\tserver\tdeliveries/s\tp99 ms\na\tkafka\t1\t1\n"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn charts_name_every_server_and_load() {
        let mut figures: Vec<_> = Vec::new();
        for load in ["a", "b", "c", "d"] {
            figures.extend(Peer::ALL.map(|peer| figure(load, peer, 1e6)));
        }
        figures.push(figure("c1000", Peer::Causerie, 2e6));
        let charts = charts(&figures).unwrap();
        let names: Vec<_> = charts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["deliveries.svg", "p99.svg", "rooms.svg"]);
        for (name, svg) in &charts {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
        }
        for peer in Peer::ALL {
            assert!(charts[0].1.contains(peer.name()) && charts[1].1.contains(peer.name()));
        }
        assert!(!charts[2].1.contains("redis"), "with a single number of rooms there is no line");
        assert!(super::charts(&[]).unwrap().is_empty());
    }
}
