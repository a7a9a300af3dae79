//! What is searched for.

use std::collections::BTreeMap;

use otfuse_fusion::merge::Scope;

use super::SearchOptions;
use crate::{Choice, Error, FuseOptions, MergeName, MergeParameters, Parameters, Result, Setting};

/// One coefficient: a parameter, of a model or of all, at a place between the first layer and the last one.
#[derive(Clone, Debug)]
pub(super) struct Coefficient {
    parameter: String,
    model: Option<usize>,
    knot: usize,
    knots: usize,
    pub bounds: (f64, f64),
    pub start: f64,
}

impl Coefficient {
    /// Its name in files.
    pub fn name(&self) -> String {
        let of_model = self.model.map_or_else(String::new, |model| format!("[{model}]"));
        let knot = if self.knots > 1 { format!("@{}", self.knot) } else { String::new() };
        format!("{}{of_model}{knot}", self.parameter)
    }
}

/// The options that merges begin with: a parameter that has to be said is, where it is searched for.
pub(super) fn started(options: &FuseOptions, wanted: &SearchOptions) -> Result<FuseOptions> {
    let mut options = options.clone();
    let method = options.merge.unwrap_or(MergeName::Mean).method();
    let mut parameters = options.parameters.clone().unwrap_or_default();
    for part in wanted.parameters.split(',') {
        let name = part.split([':', '=']).next().unwrap_or_default().trim();
        if method.parameters().iter().any(|parameter| parameter.name == name) {
            parameters.all.0.entry(name.to_owned()).or_insert(Setting::Number(0.5));
        }
    }
    options.parameters = Some(parameters);
    Ok(options)
}

/// What is searched for, as it was written.
pub(super) fn coefficients(
    wanted: &SearchOptions,
    options: &FuseOptions,
    models: usize,
    base: Option<usize>,
) -> Result<Vec<Coefficient>> {
    let name = options.merge.unwrap_or(MergeName::Mean);
    let method = name.method();
    let mut found: Vec<Coefficient> = Vec::new();
    for part in wanted.parameters.split(',').map(str::trim) {
        let wrong = |what: &str| {
            Error::input(format!("`search` {part}: {what}"))
                .hint("NAME, NAME:N or NAME:N=LOW..HIGH, for example weight, t:4=0..1")
        };
        let (left, bounds) = part.split_once('=').map_or((part, None), |(left, bounds)| (left, Some(bounds)));
        let (parameter, knots) = left.split_once(':').map_or((left, None), |(left, knots)| (left, Some(knots)));
        let Some(known) = method.parameters().iter().find(|known| known.name == parameter) else {
            let names: Vec<&str> = method.parameters().iter().map(|known| known.name).collect();
            return Err(Error::input(format!(
                "`search` {part}: `merge` {} takes no parameter '{parameter}'",
                name.name()
            ))
            .hint(format!("it takes {}", names.join(", "))));
        };
        if found.iter().any(|other| other.parameter == parameter) {
            return Err(wrong("it is named twice"));
        }
        let knots = match knots.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(knots)) if (1..=64).contains(&knots) => knots,
            Some(_) => return Err(wrong("expected 1 to 64 numbers")),
        };
        let usual = match (parameter, known.scope) {
            ("weight", _) if base.is_some() => (0.0, 1.5),
            ("lambda", _) => (0.0, 2.0),
            _ => (known.range.0.max(0.0), known.range.1.min(1.0)),
        };
        let bounds = match bounds {
            None => usual,
            Some(text) => {
                let pair = text.split_once("..").and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
                let is_fine = |(low, high): &(f64, f64)| low < high && *low >= known.range.0 && *high <= known.range.1;
                pair.filter(is_fine)
                    .ok_or_else(|| wrong(&format!("expected bounds within {} and {}", known.range.0, known.range.1)))?
            }
        };
        let of_models: Vec<Option<usize>> = match known.scope {
            Scope::Tensor => vec![None],
            Scope::Model => (0..models).filter(|&model| Some(model) != base).map(Some).collect(),
        };
        for model in of_models {
            let said = said(options, parameter, model).or(known.default);
            let middle = if parameter == "weight" && base.is_none() { 1.0 / models as f64 } else { 0.5 };
            let start = said.unwrap_or(middle).clamp(bounds.0, bounds.1);
            let of_knot = |knot| Coefficient { parameter: parameter.to_owned(), model, knot, knots, bounds, start };
            found.extend((0..knots).map(of_knot));
        }
    }
    Ok(found)
}

/// What the options say of a parameter, where it is one number.
fn said(options: &FuseOptions, parameter: &str, model: Option<usize>) -> Option<f64> {
    let parameters = options.parameters.as_ref();
    let of = |parameters: &Parameters| match parameters.0.get(parameter) {
        Some(Setting::Number(number)) => Some(*number),
        _ => None,
    };
    let of_model = model.and_then(|model| parameters.and_then(|parameters| of(parameters.models.get(model)?)));
    let weight = || match (parameter, model) {
        ("weight", Some(model)) => options.weights.as_ref().and_then(|weights| weights.0.get(model).copied()),
        ("t", None) => options.t,
        _ => None,
    };
    of_model.or_else(|| parameters.and_then(|parameters| of(&parameters.all))).or_else(weight)
}

/// What a merge is told with these coefficients.
pub(super) fn told(options: &FuseOptions, coefficients: &[Coefficient], values: &[f64]) -> MergeParameters {
    let mut parameters = options.parameters.clone().unwrap_or_default();
    let mut lists: BTreeMap<(Option<usize>, &str), Vec<f64>> = BTreeMap::new();
    for (coefficient, value) in coefficients.iter().zip(values) {
        lists.entry((coefficient.model, &coefficient.parameter)).or_default().push(*value);
    }
    for ((model, parameter), list) in lists {
        let setting = match list[..] {
            [value] => Setting::Number(value),
            _ => Setting::Gradient(list),
        };
        let of = match model {
            None => &mut parameters.all,
            Some(model) => {
                if parameters.models.len() <= model {
                    parameters.models.resize_with(model + 1, Parameters::default);
                }
                &mut parameters.models[model]
            }
        };
        of.0.insert(parameter.to_owned(), setting);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_read() {
        let of = |parameters: &str, merge, base| {
            let wanted = SearchOptions { parameters: parameters.into(), ..SearchOptions::default() };
            let options = FuseOptions { merge: Some(merge), ..FuseOptions::default() };
            coefficients(&wanted, &options, 3, base)
        };
        let names = |found: Vec<Coefficient>| found.iter().map(Coefficient::name).collect::<Vec<_>>();
        assert_eq!(names(of("weight", MergeName::Mean, None).unwrap()), ["weight[0]", "weight[1]", "weight[2]"]);
        let ties = of("density=0.1..1,weight:2", MergeName::Ties, Some(2)).unwrap();
        assert_eq!(ties[0].bounds, (0.1, 1.0));
        assert_eq!(
            names(ties),
            ["density[0]", "density[1]", "weight[0]@0", "weight[0]@1", "weight[1]@0", "weight[1]@1"]
        );
        for (text, expected) in [
            ("wieght", "takes no parameter"),
            ("density=2..3", "bounds"),
            ("density:0", "1 to 64"),
            ("density,density:2", "twice"),
        ] {
            let error = of(text, MergeName::Ties, Some(2)).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
        }
    }
}
