//! Images, or rows of numbers, that classifiers make.

use otfuse_graph::Graph;
use otfuse_runtime::inverse::{Descending, DescentSettings, descend};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::form::Form;
use super::{Effort, noise};
use crate::context::Stage;
use crate::inputs::{below, normal};
use crate::{Context, Error, Model, Result};

/// Images that descend together.
const BATCH: usize = 100;
/// Copies of each image beside it.
const COPIES: usize = 3;
/// How far copies are moved, at most.
const COPY_SHIFT: usize = 4;
/// Where copies are drawn from; the streams from 1 on are those of the images' noise.
const COPIES_STREAM: u64 = 1 << 63;

/// How images descend, by what the networks are.
pub(super) fn settings(form: &Form, effort: Effort, seed: u64) -> Option<DescentSettings> {
    let Form::Images { shape, declared, is_normalised, .. } = form else { return None };
    let colours = shape[0] == 3;
    let base = DescentSettings {
        steps: 30,
        rate: 0.1,
        class: 1.0,
        statistics: 0.0,
        variation: 1.0,
        norm: 0.05,
        shift: 2,
        flip: colours,
        seed,
    };
    Some(match (is_normalised, declared.len()) {
        // A perceptron sees no neighbours, and a few steps suffice to spread the noise over the classes.
        (_, 1) => DescentSettings { steps: 3, shift: 0, flip: false, ..base },
        (true, _) => DescentSettings {
            steps: if effort.is_thorough { 80 } else { 60 },
            rate: 0.05,
            class: 0.5,
            statistics: 0.5,
            variation: 0.3,
            norm: 0.0,
            ..base
        },
        (false, _) => DescentSettings { steps: if effort.is_thorough { 40 } else { 30 }, ..base },
    })
}

/// Noise of the form's shape.
pub(super) fn noise_of(form: &Form, count: usize, seed: u64) -> Vec<f32> {
    match form {
        Form::Images { shape, .. } => noise::images(count, *shape, seed),
        Form::Numbers { count: columns, scale, .. } => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut values: Vec<f32> = (0..count * columns).map(|_| normal(&mut random)).collect();
            if let Some((mean, deviation)) = scale.as_ref().filter(|(mean, _)| mean.len() == *columns) {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = mean[at % columns] + deviation[at % columns] * *value;
                }
            }
            values
        }
        Form::Text { .. } => Vec::new(),
    }
}

/// The noise, descended: batch after batch, the wanted classes in turn.
pub(super) fn descended(
    form: &Form,
    models: &[Model],
    noise: Vec<f32>,
    settings: &DescentSettings,
    stage: &Stage,
    context: &Context,
) -> Result<Vec<f32>> {
    let Form::Images { shape, declared, channels_last, classes, .. } = form else { return Ok(noise) };
    let graphs: Vec<&Graph> = models.iter().map(Model::graph).collect::<Result<_>>()?;
    let size: usize = shape.iter().product();
    let form = Descending { shape: declared.clone(), image: Some(*shape), channels_last: *channels_last };
    let mut made = Vec::with_capacity(noise.len());
    let total = steps(noise.len() / size, Some(settings));
    for (batch, start) in noise.chunks(BATCH * size).enumerate() {
        let wanted: Vec<u32> = (0..start.len() / size).map(|at| ((batch * BATCH + at) % classes) as u32).collect();
        let settings = DescentSettings { seed: settings.seed.wrapping_add(batch as u64), ..*settings };
        let mut observe = |step, loss: f64| {
            let done = batch * settings.steps + step;
            stage.tell(done, total, &format!("loss {loss:.3}"));
            context.flow()
        };
        let found = descend(&graphs, &form, start.to_vec(), &wanted, &settings, context.host(), &mut observe)?;
        made.extend(found.ok_or_else(Error::cancelled)?);
    }
    Ok(made)
}

/// The images, then copies of all of them: mirrored where that is done in the descent, then moved around their edges by some
/// pixels and mirrored at random. Whoever is fitted on few images gains as much by them as by more of these, for nothing.
pub(super) fn copied(form: &Form, images: Vec<f32>, settings: &DescentSettings) -> Vec<f32> {
    let Form::Images { shape: [channels, height, width], .. } = *form else { return images };
    if settings.shift == 0 {
        return images;
    }
    let (plane, size) = (height * width, channels * height * width);
    let count = images.len() / size;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    random.set_stream(COPIES_STREAM);
    let mut all = images;
    all.reserve(COPIES * count * size);
    for copy in 0..COPIES {
        for image in 0..count {
            let range = 2 * COPY_SHIFT.min(height.min(width) / 4) + 1;
            let mut offset = |length: usize| below(range, &mut random) + length - range / 2;
            let (down, right) = if copy == 0 { (0, 0) } else { (offset(height), offset(width)) };
            let is_mirrored = settings.flip && (copy == 0 || below(2, &mut random) == 1);
            let from = all[image * size..(image + 1) * size].to_vec();
            for channel in 0..channels {
                for at in 0..plane {
                    let (row, column) = ((at / width + down) % height, (at % width + right) % width);
                    let column = if is_mirrored { width - 1 - column } else { column };
                    all.push(from[channel * plane + row * width + column]);
                }
            }
        }
    }
    all
}

/// Steps that making so many takes.
pub(super) fn steps(count: usize, settings: Option<&DescentSettings>) -> usize {
    settings.map_or(1, |settings| count.div_ceil(BATCH) * settings.steps)
}
