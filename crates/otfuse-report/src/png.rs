//! Drawings as pixels.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use ttf_parser::Face;

use crate::ReportError;
use crate::letters::outlined;

/// A drawing as a PNG file of `scale` pixels per unit.
///
/// Letters are drawn with a font that is built in (Ubuntu Light, Latin, Greek and Cyrillic), so that the same drawing gives
/// the same bytes on every machine, also where no fonts are installed. A character that it lacks is left out.
///
/// # Errors
/// What is no drawing, or has no size in pixels.
pub fn to_png(svg: &str, scale: f32) -> Result<Vec<u8>, ReportError> {
    let failure = |reason: String| ReportError::Pixels { reason };
    let face = Face::parse(epaint_default_fonts::UBUNTU_LIGHT, 0).map_err(|error| failure(error.to_string()))?;
    let svg = outlined(svg, &face).map_err(failure)?;
    let tree = Tree::from_str(&svg, &Options::default()).map_err(|error| failure(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or_else(|| failure(format!("a scale of {scale}")))?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| failure(format!("{} x {} pixels are too many", size.width(), size.height())))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failure(error.to_string()))
}
