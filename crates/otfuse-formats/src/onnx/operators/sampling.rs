//! Sampling between positions, and positions turned into channels.

use otfuse_graph::{
    Aspect, Coordinates, DepthOrder, GridMode, GridPadding, GridSample, Nearest, Node, Operator, Resize, ResizeMode,
};

use super::{Written, float, int, ints, text, window};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

const COORDINATES: [(&str, Coordinates); 6] = [
    ("half_pixel", Coordinates::HalfPixel),
    ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
    ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
    ("align_corners", Coordinates::AlignCorners),
    ("asymmetric", Coordinates::Asymmetric),
    ("tf_crop_and_resize", Coordinates::CropAndResize),
];

const NEAREST: [(&str, Nearest); 4] = [
    ("round_prefer_floor", Nearest::RoundPreferFloor),
    ("round_prefer_ceil", Nearest::RoundPreferCeil),
    ("floor", Nearest::Floor),
    ("ceil", Nearest::Ceil),
];

const ASPECTS: [(&str, Aspect); 3] =
    [("stretch", Aspect::Stretch), ("not_larger", Aspect::NotLarger), ("not_smaller", Aspect::NotSmaller)];

const ORDERS: [(&str, DepthOrder); 2] = [("DCR", DepthOrder::BlockFirst), ("CRD", DepthOrder::ChannelsFirst)];

/// Opset 20 has the first names, before that the second ones.
const GRID_MODES: [(&str, &str, GridMode); 3] = [
    ("linear", "bilinear", GridMode::Linear),
    ("nearest", "nearest", GridMode::Nearest),
    ("cubic", "bicubic", GridMode::Cubic),
];

const GRID_PADDINGS: [(&str, GridPadding); 3] =
    [("zeros", GridPadding::Zeros), ("border", GridPadding::Border), ("reflection", GridPadding::Reflection)];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "Resize" | "Upsample" => return resize(call),
        "GridSample" => {
            let name = call.attributes.text("mode")?.unwrap_or(if call.version < 20 { "bilinear" } else { "linear" });
            let mode = GRID_MODES.iter().find(|(new, old, _)| [*new, *old].contains(&name));
            let error = || call.attributes.error("mode", "linear, nearest or cubic", format!("'{name}'"));
            Operator::GridSample(GridSample {
                mode: mode.ok_or_else(error)?.2,
                padding: chosen(call, "padding_mode", &GRID_PADDINGS, GridPadding::Zeros)?,
                align_corners: call.attributes.flag("align_corners")?.unwrap_or(false),
            })
        }
        "DepthToSpace" => Operator::DepthToSpace {
            block: block(call)?,
            order: chosen(call, "mode", &ORDERS, DepthOrder::BlockFirst)?,
        },
        "SpaceToDepth" => Operator::SpaceToDepth { block: block(call)? },
        "Col2Im" => Operator::Col2Im(window::read(call)?),
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

/// What a name stands for.
fn chosen<T: Copy>(call: &Call<'_>, attribute: &'static str, names: &[(&str, T)], default: T) -> Result<T, OnnxError> {
    let Some(name) = call.attributes.text(attribute)? else { return Ok(default) };
    let known = names.iter().find(|(known, _)| *known == name);
    known.map(|&(_, value)| value).ok_or_else(|| {
        let expected: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        call.attributes.error(attribute, expected.join(", "), format!("'{name}'"))
    })
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

fn block(call: &Call<'_>) -> Result<usize, OnnxError> {
    let found = call.attributes.int("blocksize")?;
    let block = found.and_then(|block| usize::try_from(block).ok()).filter(|&block| block > 0);
    block.ok_or_else(|| call.attributes.error("blocksize", "a positive number", format!("{found:?}")))
}

/// Up to opset 10 there are scales only, and positions begin at the corner.
fn resize(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let old = call.version < 11;
    if old {
        let grows = call.constant(1).and_then(otfuse_graph::Tensor::to_f32);
        // Shrinking took another neighbour.
        if !grows.is_some_and(|scales| scales.iter().all(|&scale| scale >= 1.0)) {
            return Ok(Reading::Opaque);
        }
        call.inputs.insert(1, None);
    }
    // An empty tensor stands for an input left out.
    for position in 1..call.inputs.len() {
        if call.constant(position).is_some_and(otfuse_graph::Tensor::is_empty) {
            call.inputs[position] = None;
        }
    }
    let coordinates = if old { Coordinates::Asymmetric } else { Coordinates::HalfPixel };
    let coordinates = chosen(call, "coordinate_transformation_mode", &COORDINATES, coordinates)?;
    if coordinates != Coordinates::CropAndResize
        && let Some(roi) = call.inputs.get_mut(1)
    {
        *roi = None;
    }
    let nearest = if old { Nearest::Floor } else { Nearest::RoundPreferFloor };
    let nearest = chosen(call, "nearest_mode", &NEAREST, nearest)?;
    let a = call.attributes.float("cubic_coeff_a")?.unwrap_or(-0.75);
    let mode = match call.attributes.text("mode")?.unwrap_or("nearest") {
        "nearest" => ResizeMode::Nearest(nearest),
        "linear" | "bilinear" => ResizeMode::Linear,
        "cubic" => ResizeMode::Cubic { a },
        other => return Err(call.attributes.error("mode", "nearest, linear or cubic", format!("'{other}'"))),
    };
    Ok(Reading::Operator(Operator::Resize(Resize {
        mode,
        coordinates,
        axes: call.attributes.ints("axes")?.map(<[i64]>::to_vec).filter(|axes| !axes.is_empty()),
        antialias: call.attributes.flag("antialias")?.unwrap_or(false),
        exclude_outside: call.attributes.flag("exclude_outside")?.unwrap_or(false),
        extrapolation: call.attributes.float("extrapolation_value")?.unwrap_or(0.0),
        aspect: chosen(call, "keep_aspect_ratio_policy", &ASPECTS, Aspect::Stretch)?,
    })))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::Resize(resize) => {
            let mut attributes = vec![
                text("coordinate_transformation_mode", name_of(&COORDINATES, &resize.coordinates)),
                int("antialias", resize.antialias.into()),
                int("exclude_outside", resize.exclude_outside.into()),
                float("extrapolation_value", resize.extrapolation),
                text("keep_aspect_ratio_policy", name_of(&ASPECTS, &resize.aspect)),
            ];
            attributes.extend(resize.axes.iter().map(|axes| ints("axes", axes.iter().copied())));
            match resize.mode {
                ResizeMode::Nearest(nearest) => {
                    attributes.extend([text("mode", "nearest"), text("nearest_mode", name_of(&NEAREST, &nearest))]);
                }
                ResizeMode::Linear => attributes.push(text("mode", "linear")),
                ResizeMode::Cubic { a } => attributes.extend([text("mode", "cubic"), float("cubic_coeff_a", a)]),
            }
            let symmetric = resize.coordinates == Coordinates::HalfPixelSymmetric;
            return Some(Written::new(attributes).since(if symmetric { 19 } else { 18 }));
        }
        Operator::GridSample(grid) => {
            let mode = GRID_MODES.iter().find(|(_, _, mode)| *mode == grid.mode).map_or("", |(name, _, _)| name);
            let attributes = vec![
                text("mode", mode),
                text("padding_mode", name_of(&GRID_PADDINGS, &grid.padding)),
                int("align_corners", grid.align_corners.into()),
            ];
            return Some(Written::new(attributes).since(20));
        }
        Operator::DepthToSpace { block, order } => {
            vec![int("blocksize", *block as i64), text("mode", name_of(&ORDERS, order))]
        }
        Operator::SpaceToDepth { block } => vec![int("blocksize", *block as i64)],
        Operator::Col2Im(window) => window::write(window),
        _ => return None,
    }))
}
