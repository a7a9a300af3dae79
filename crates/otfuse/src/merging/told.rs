//! A method and what it is told, for networks that are fused.

use std::sync::Arc;

use otfuse_fusion::Merging;
use otfuse_fusion::merge::{Base, Merge, Parameter};

use super::settings::missing_parameter;
use super::{Layers, MergeParameters, numbers};
use crate::{Error, FuseOptions, Model, Result};

/// How aligned tensors become one.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    merging: Merging,
}

impl Told {
    /// What the options say to a method. Where it needs a base, the anchor is it.
    ///
    /// # Errors
    /// Parameters that the method does not take, or that are missing.
    pub fn of(method: &'static dyn Merge, options: &FuseOptions, models: &[Model], anchor: usize) -> Result<Self> {
        let count = models.len();
        let base = match (method.base(), options.base) {
            (Base::Required, None) => Some(anchor),
            (Base::Unused, Some(_)) => {
                return Err(Error::input(format!("`base`: `merge` {} takes no base", method.name()))
                    .hint("leave it out, or choose a merge of differences, `merge` ties for one"));
            }
            (_, Some(base)) if base >= count => {
                let message = format!("`base` {base}: there are models 0 to {} only", count - 1);
                return Err(Error::input(message).hint("models are counted from 0"));
            }
            (_, base) => base,
        };
        let parameters = options.parameters.clone().unwrap_or_default();
        parameters.check(method, count, base)?;
        if parameters.models.len() > count {
            let message = format!("`parameters`: of {} models, but there are {count}", parameters.models.len());
            return Err(Error::input(message).hint("name parameters of as many models as there are"));
        }
        let merging = Merging::of(method).with_base(base).seeded(options.seed.unwrap_or(0));
        let takes_tasks = method.base() == Base::Required;
        if !takes_tasks && parameters == MergeParameters::default() {
            return Ok(Self { merging });
        }
        let weights = options.weights.clone().filter(|_| takes_tasks).map(|weights| weights.0);
        if let Some(weights) = &weights
            && weights.len() != count
        {
            let message = format!("`weights`: expected {count}, one for each model, found {}", weights.len());
            return Err(Error::input(message).hint("that of the base counts for nothing"));
        }
        let layers = Layers::of_graph(models[anchor].graph()?);
        let t = options.t;
        let said = move |model: Option<usize>, parameter: &Parameter, name: &str, place: f64| {
            let of_model = model.and_then(|model| parameters.models.get(model)?.at(parameter.name, name, place));
            let said = of_model.or_else(|| parameters.all.at(parameter.name, name, place));
            said.or_else(|| match (parameter.name, model) {
                ("weight", Some(model)) if takes_tasks => Some(weights.as_ref().map_or(1.0, |weights| weights[model])),
                ("t", None) => t,
                _ => None,
            })
        };
        let needed = method.parameters().iter().find(|parameter| parameter.default.is_none() && parameter.name == "t");
        if let Some(parameter) = needed.filter(|parameter| takes_tasks && said(None, parameter, "", 0.0).is_none()) {
            return Err(missing_parameter(parameter, "`parameters`"));
        }
        let choose = move |name: &str| {
            let place = layers.place(name);
            numbers(method, count, &|model, parameter| said(model, parameter, name, place))
        };
        Ok(Self { merging: merging.choosing(Arc::new(choose)) })
    }

    /// The method, as networks are merged by it.
    pub fn merging(&self) -> Merging {
        self.merging.clone()
    }
}
