//! Colours that can be told apart with any colour vision, on a white and (by the page's styles) on a dark ground.

use plotters::style::colors::colormaps::ViridisRGB;
use plotters::style::{RGBColor, colors::colormaps::ColorMap};

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
/// Lines behind the data.
pub const GRID: RGBColor = RGBColor(0xD8, 0xDE, 0xE4);
/// Where a value is missing.
pub const MISSING: RGBColor = RGBColor(0xB0, 0xB7, 0xBF);

/// M. Okabe and K. Ito, "Color universal design", without black and yellow, which vanish on dark and white grounds.
const SERIES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x6E, 0x77, 0x81),
];

/// The colour of a series; they repeat after seven, with other marks.
pub fn series(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// The colour of a value between 0 and 1: viridis, which also grows in lightness.
pub fn scale(share: f64) -> RGBColor {
    ViridisRGB.get_color(share.clamp(0.0, 1.0) as f32)
}

/// As in a style sheet.
pub fn hexadecimal(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
