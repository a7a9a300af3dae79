//! Drawings as pixels.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Source};
use resvg::usvg::{FontResolver, Options, Tree};

use crate::ReportError;

/// A drawing as a PNG file of `scale` pixels per unit.
///
/// Letters are drawn with a font that is built in (Ubuntu Light, Latin, Greek and Cyrillic), so that the same drawing gives
/// the same bytes on every machine, also where no fonts are installed. A character that it lacks is left out.
///
/// # Errors
/// What is no drawing, or has no size in pixels.
pub fn to_png(svg: &str, scale: f32) -> Result<Vec<u8>, ReportError> {
    let failure = |reason: String| ReportError::Pixels { reason };
    let tree = Tree::from_str(svg, &options()).map_err(|error| failure(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or_else(|| failure(format!("a scale of {scale}")))?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| failure(format!("{} x {} pixels are too many", size.width(), size.height())))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failure(error.to_string()))
}

fn options() -> Options<'static> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_font_source(Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
        Arc::new(fonts)
    });
    Options {
        fontdb: fonts.clone(),
        font_resolver: FontResolver {
            // Whatever family is asked for: there is one.
            select_font: Box::new(|_, fonts| fonts.faces().next().map(|face| face.id)),
            select_fallback: Box::new(|_, _, _| None),
        },
        ..Options::default()
    }
}
