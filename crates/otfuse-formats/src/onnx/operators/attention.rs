//! Attention as one operator.

use otfuse_graph::{Attention, Node, Operator, Scores};

use super::{Written, float, int};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

const SCORES: [Scores; 4] = [Scores::Products, Scores::Capped, Scores::Masked, Scores::Probabilities];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if call.operator != "Attention" {
        return Ok(Reading::Other);
    }
    // Of the precision in between no promise is made.
    call.attributes.ignore(&["softmax_precision"]);
    let number = |name: &'static str| -> Result<Option<usize>, OnnxError> {
        let Some(value) = call.attributes.int(name)? else { return Ok(None) };
        let positive = usize::try_from(value).ok().filter(|&value| value > 0);
        positive.map(Some).ok_or_else(|| call.attributes.error(name, "a positive number", value))
    };
    let heads = number("q_num_heads")?.zip(number("kv_num_heads")?);
    let mode = call.attributes.int("qk_matmul_output_mode")?.unwrap_or(0);
    let scores = usize::try_from(mode).ok().and_then(|mode| SCORES.get(mode)).copied();
    Ok(Reading::Operator(Operator::Attention(Attention {
        heads,
        causal: call.attributes.flag("is_causal")?.unwrap_or(false),
        scale: call.attributes.float("scale")?,
        softcap: call.attributes.float("softcap")?.filter(|&cap| cap != 0.0),
        scores: scores.ok_or_else(|| call.attributes.error("qk_matmul_output_mode", "0 to 3", mode))?,
    })))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let Operator::Attention(attention) = &node.operator else { return None };
    let mode = SCORES.iter().position(|&scores| scores == attention.scores).unwrap_or(0);
    let mut attributes = vec![int("is_causal", attention.causal.into()), int("qk_matmul_output_mode", mode as i64)];
    if let Some((queries, keys)) = attention.heads {
        attributes.extend([int("q_num_heads", queries as i64), int("kv_num_heads", keys as i64)]);
    }
    attributes.extend(attention.scale.map(|scale| float("scale", scale)));
    attributes.extend(attention.softcap.map(|cap| float("softcap", cap)));
    Some(Written::new(attributes).since(if node.input(6).is_some() { 24 } else { 23 }))
}
