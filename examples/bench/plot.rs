//! Draws doc/dev/benchmark.svg.

use std::fmt::Write as _;

use crate::deliveries::Bar;

/// Draws bars on a logarithmic scale: sizes from left to right, with four bars each.
pub fn plot(bars: &[Bar], old: &str) -> String {
    const COLOURS: [&str; 4] = ["#9aa5b1", "#7fb08f", "#2f6f4f", "#b5532b"];
    let names = ["keep", "mail plugin", "encrypt", old.trim_matches('`')];
    // The scale goes from 0.1 ms to 100 s.
    let height = |seconds: f64| ((seconds.log10() + 4.0) / 6.0 * 260.0).clamp(1.0, 260.0);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 360\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"360\" fill=\"white\"/>\n",
    );
    for (power, label) in ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"].iter().enumerate() {
        let y = 310.0 - power as f64 * 260.0 / 6.0;
        let _ = writeln!(svg, "<path d=\"M70 {y:.0}H700\" stroke=\"#ddd\"/><text x=\"62\" y=\"{:.0}\" text-anchor=\"end\">{label}</text>", y + 4.0);
    }
    for (n, (size, seconds)) in bars.iter().enumerate() {
        let left = 90 + n * 122;
        for (m, time) in seconds.iter().enumerate() {
            let height = height(*time);
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{:.0}\" width=\"22\" height=\"{height:.0}\" fill=\"{}\"/>",
                left + m * 25,
                310.0 - height,
                COLOURS[m]
            );
        }
        let _ = writeln!(svg, "<text x=\"{}\" y=\"330\" text-anchor=\"middle\">{size}</text>", left + 46);
    }
    for (n, name) in names.iter().enumerate() {
        let _ = writeln!(svg, "<rect x=\"{}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"25\">{name}</text>", 90 + n * 120, COLOURS[n], 108 + n * 120);
    }
    svg + "</svg>\n"
}
