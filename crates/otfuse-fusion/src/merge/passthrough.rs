//! One model's tensors as they are.

use super::blocks::Finish;
use super::operands::Operands;
use super::parameters::{ANY, Parameter};
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// The tensor of the one model there is, times `scale`: for networks put together of others' layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passthrough;

const SCALE: Parameter = Parameter::of_model("scale", Some(1.0), ANY, "what it is multiplied with");

impl Merge for Passthrough {
    fn name(&self) -> &'static str {
        "passthrough"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[SCALE]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn others(&self) -> Others {
        Others::Exactly(1)
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let scale = tensor.of_model(0, &SCALE);
        Ok(Box::new(move |first, into| {
            tensor.read(0, first, into)?;
            if scale != 1.0 {
                into.iter_mut().for_each(|value| *value *= scale);
            }
            Ok(())
        }))
    }
}
