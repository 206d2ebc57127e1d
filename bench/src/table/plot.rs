//! The picture of the row `grown`: what each kind of work comes to as the table grows, over what it comes to when there is
//! next to nothing in it. An SVG of a few lines, written here; it is dark where its reader is.

use std::fmt::Write as _;

use super::grown;
use super::report::{RowResult, find, medians};
use crate::float;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
/// Around the axes: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (58.0, 44.0, 150.0, 52.0);
/// By place in [`grown::KINDS`]; readable on white and on black, and told apart by who sees no colours by their labels.
const COLOURS: [&str; 4] = ["#3b82f6", "#f59e0b", "#10b981", "#ec4899"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#333}.axis{stroke:#999}.grid{stroke:#ccc;stroke-dasharray:2 4}\
    path{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#ddd}.axis{stroke:#777}.grid{stroke:#555}}";

/// One kind of work: for each size, what it comes to over the smallest size.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// None where there are fewer than two sizes.
pub(crate) fn growth(row: &RowResult) -> Option<String> {
    let medians = medians(&row.rounds);
    let at = |name: &str, size: usize| find(&medians, &grown::figure(name, size)).map(|figure| figure.value);
    let lines = grown::KINDS.iter().filter_map(|kind| {
        let least = at(kind.name, grown::EMPTY).filter(|value| *value > 0.0)?;
        let sizes = grown::SIZES.iter().filter_map(|size| Some((float(*size), at(kind.name, *size)? / least)));
        Some(Line { name: kind.name, points: sizes.collect() })
    });
    let lines: Vec<Line> = lines.filter(|line| line.points.len() > 1).collect();
    (!lines.is_empty()).then(|| draw(&lines))
}

fn draw(lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (first, last) = points().fold((f64::MAX, 0.0_f64), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
    let top = points().fold(1.2_f64, |high, (_, y)| high.max(*y));
    let top = (top * 5.0).ceil() / 5.0;
    let (left, above, right, below) = MARGIN;
    let x = |size: f64| left + (size / first).log10() / (last / first).log10() * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - below - value / top * (HEIGHT - above - below);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>How work changes as records grow</title>\n<style>{STYLE}</style>\n\
         <text x=\"{left}\" y=\"22\">Rate over that of an almost empty database</text>\n"
    );
    let mut tick = 0.0;
    while tick <= top + 0.01 {
        let (at, end) = (y(tick), WIDTH - right);
        let class = if tick == 0.0 { "axis" } else { "grid" };
        let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{left}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick:.1}</text>", left - 8.0, at + 4.0);
        tick += 0.2;
    }
    let mut power = first.log10().ceil();
    while power <= last.log10() + 0.01 {
        let (at, under) = (x(10_f64.powf(power)), HEIGHT - below + 20.0);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{under}\" text-anchor=\"middle\">10<tspan dy=\"-5\" font-size=\"9\">{power}</tspan></text>"
        );
        power += 1.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">records</text>",
        f64::midpoint(left, WIDTH - right),
        HEIGHT - 12.0
    );
    // Names beside the lines' ends, not one upon the other.
    let mut ends: Vec<(f64, usize)> =
        lines.iter().map(|line| line.points.last().map_or(0.0, |(_, v)| y(*v))).zip(0..).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = 0.0_f64;
    for (end, index) in ends {
        let (Some(line), colour) = (lines.get(index), COLOURS.get(index).unwrap_or(&"#888")) else { continue };
        let mut path = String::new();
        for (step, (size, value)) in line.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if step == 0 { "M" } else { " L" }, x(*size), y(*value));
        }
        let _ = writeln!(svg, "<path d=\"{path}\" stroke=\"{colour}\"/>");
        let at = end.max(free);
        free = at + 17.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" style=\"fill:{colour}\">{}</text>",
            WIDTH - right + 8.0,
            at + 4.0,
            line.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::super::report::Round;
    use super::*;

    fn row(sizes: &[usize]) -> RowResult {
        let mut round = Round::default();
        for (number, size) in (1..).zip(sizes) {
            for kind in &grown::KINDS {
                round.add(grown::figure(kind.name, *size), 1_000.0 / f64::from(number), "/s");
            }
        }
        RowResult { rounds: vec![round], ..RowResult::default() }
    }

    #[test]
    fn each_kind_of_work_has_a_line_with_a_point_for_each_size() {
        let svg = growth(&row(&grown::SIZES)).unwrap();
        assert_eq!(svg.matches("<path").count(), grown::KINDS.len());
        for kind in &grown::KINDS {
            assert!(svg.contains(&format!(">{}</text>", kind.name)));
        }
        let path = svg.split("<path d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.split(['M', 'L']).skip(1).count(), grown::SIZES.len());
        // The first point stands at 1, half way down is a half.
        let height = |point: &str| point.trim().split(' ').nth(1).unwrap().parse::<f64>().unwrap();
        let heights: Vec<f64> = path.split(['M', 'L']).skip(1).map(height).collect();
        let zero = HEIGHT - MARGIN.3;
        assert!(((zero - heights[1]) * 2.0 - (zero - heights[0])).abs() < 0.5);
    }

    #[test]
    fn without_two_sizes_there_is_no_picture() {
        assert!(growth(&row(&[grown::EMPTY])).is_none());
        assert!(growth(&row(&[])).is_none());
    }
}
