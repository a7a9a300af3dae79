//! Windows of convolutions and pools.

use otfuse_graph::{Padding, Window};

use super::{sizes, text};
use crate::error::OnnxError;
use crate::onnx::call::Call;
use crate::onnx::proto::AttributeProto;

/// Reads `auto_pad`, `pads`, `strides` and `dilations`.
pub(super) fn read(call: &Call<'_>) -> Result<Window, OnnxError> {
    let attributes = &call.attributes;
    let automatic = attributes.text("auto_pad")?.unwrap_or("NOTSET");
    let pads = attributes.sizes("pads", 0)?.unwrap_or_default();
    let padding = match automatic {
        "NOTSET" | "" => Padding::Explicit(pads),
        "VALID" => Padding::Explicit(Vec::new()),
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        other => {
            let expected = "NOTSET, VALID, SAME_UPPER or SAME_LOWER";
            return Err(attributes.error("auto_pad", expected, format!("'{other}'")));
        }
    };
    let strides = attributes.sizes("strides", 1)?.unwrap_or_default();
    let dilations = attributes.sizes("dilations", 1)?.unwrap_or_default();
    Ok(Window { strides, dilations, padding })
}

/// Checks that the lists of a window have `rank` entries for as many spatial axes.
pub(super) fn check(call: &Call<'_>, window: &Window, rank: usize) -> Result<(), OnnxError> {
    let pads = match &window.padding {
        Padding::Explicit(pads) => pads.as_slice(),
        Padding::SameUpper | Padding::SameLower => &[],
    };
    for (name, found, expected) in [
        ("strides", window.strides.len(), rank),
        ("dilations", window.dilations.len(), rank),
        ("pads", pads.len(), 2 * rank),
    ] {
        if found != 0 && found != expected {
            let expected = format!("{expected} entries for {rank} spatial axes");
            return Err(call.attributes.error(name, expected, found));
        }
    }
    Ok(())
}

/// The attributes of a window.
pub(super) fn write(window: &Window) -> Vec<AttributeProto> {
    let mut attributes = Vec::new();
    match &window.padding {
        Padding::Explicit(pads) if pads.is_empty() => {}
        Padding::Explicit(pads) => attributes.push(sizes("pads", pads)),
        Padding::SameUpper => attributes.push(text("auto_pad", "SAME_UPPER")),
        Padding::SameLower => attributes.push(text("auto_pad", "SAME_LOWER")),
    }
    if !window.strides.is_empty() {
        attributes.push(sizes("strides", &window.strides));
    }
    if !window.dilations.is_empty() {
        attributes.push(sizes("dilations", &window.dilations));
    }
    attributes
}
