//! Random numbers.

use otfuse_graph::{Node, Operator, Random, RandomKind};

use super::{Written, float, int, sizes};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::data_type;

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let Some(&kind) = RandomKind::ALL.iter().find(|kind| kind.name() == call.operator) else {
        return Ok(Reading::Other);
    };
    let number = call.attributes.int("dtype")?;
    let to = number.and_then(|number| i32::try_from(number).ok()).and_then(data_type::from_number);
    if number.is_some() && to.is_none() {
        return Ok(Reading::Opaque);
    }
    let [low, high] = names(kind);
    let (low, high) = (call.attributes.float(low)?.unwrap_or(0.0), call.attributes.float(high)?.unwrap_or(1.0));
    Ok(Reading::Operator(Operator::Random(Random {
        kind,
        data_type: to,
        shape: call.attributes.sizes("shape", 0)?.unwrap_or_default(),
        parameters: [low, high],
        seed: call.attributes.float("seed")?,
        samples: call.attributes.int("sample_size")?.map_or(1, |count| usize::try_from(count).unwrap_or(0)),
    })))
}

fn names(kind: RandomKind) -> [&'static str; 2] {
    match kind {
        RandomKind::Uniform | RandomKind::UniformLike => ["low", "high"],
        _ => ["mean", "scale"],
    }
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let Operator::Random(random) = &node.operator else { return None };
    let mut attributes = Vec::new();
    attributes.extend(random.data_type.map(|to| int("dtype", data_type::to_number(to).into())));
    attributes.extend(random.seed.map(|seed| float("seed", seed)));
    match random.kind {
        RandomKind::Bernoulli => {}
        RandomKind::Multinomial => attributes.push(int("sample_size", random.samples as i64)),
        kind => {
            let [low, high] = names(kind);
            attributes.extend([float(low, random.parameters[0]), float(high, random.parameters[1])]);
        }
    }
    if !random.kind.has_input() {
        attributes.push(sizes("shape", &random.shape));
    }
    Some(Written::new(attributes))
}
