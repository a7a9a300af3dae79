//! What methods can be told.

use std::collections::BTreeMap;

/// A number that a method takes. Truth values are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its name, as in files.
    pub name: &'static str,
    /// Whether it is one number for a tensor or one for each model.
    pub scope: Scope,
    /// What it is if nothing was said; `None` if it has to be said.
    pub default: Option<f64>,
    /// The least and the greatest that it may be.
    pub range: (f64, f64),
    /// What it does, in a line.
    pub meaning: &'static str,
}

/// What a parameter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A tensor of the result.
    Tensor,
    /// A tensor of a model; the base needs none.
    Model,
}

/// Any finite number.
pub(super) const ANY: (f64, f64) = (f64::MIN, f64::MAX);
/// No or yes.
const FLAG: (f64, f64) = (0.0, 1.0);

impl Parameter {
    /// One number for a tensor.
    pub const fn of_tensor(name: &'static str, default: Option<f64>, range: (f64, f64), meaning: &'static str) -> Self {
        Self { name, scope: Scope::Tensor, default, range, meaning }
    }

    /// One number for each model.
    pub const fn of_model(name: &'static str, default: Option<f64>, range: (f64, f64), meaning: &'static str) -> Self {
        Self { name, scope: Scope::Model, default, range, meaning }
    }

    /// A truth value for a tensor.
    pub const fn flag(name: &'static str, default: bool, meaning: &'static str) -> Self {
        Self::of_tensor(name, Some(if default { 1.0 } else { 0.0 }), FLAG, meaning)
    }
}

/// The weight of a model.
pub(super) const WEIGHT: Parameter = Parameter::of_model("weight", None, ANY, "how much the model counts");
/// The same where it cannot be taken away.
pub(super) const SHARE: Parameter = Parameter::of_model("weight", None, (0.0, f64::MAX), "how much the model counts");
/// What files of mergekit have beside others.
pub(super) const INT8_MASK: Parameter = Parameter::flag("int8_mask", false, "nothing here: masks take a byte always");

/// The numbers for one tensor, by the names of parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Those of the tensor.
    pub tensor: BTreeMap<&'static str, f64>,
    /// Those of each model, in the order of the models.
    pub models: Vec<BTreeMap<&'static str, f64>>,
}

impl Numbers {
    /// One of the tensor; what the method does without where it was not said.
    pub(super) fn of_tensor(&self, parameter: &Parameter) -> f64 {
        self.tensor.get(parameter.name).copied().or(parameter.default).unwrap_or_default()
    }

    /// One of a model.
    pub(super) fn of_model(&self, model: usize, parameter: &Parameter) -> f64 {
        let said = self.models.get(model).and_then(|numbers| numbers.get(parameter.name)).copied();
        said.or(parameter.default).unwrap_or_default()
    }
}
