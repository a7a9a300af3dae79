//! How several tensors of one shape become one. A method is one file here, named in [`METHODS`]; nothing else knows of it.
//!
//! | file | what it does |
//! |---|---|
//! | `linear`, `slerp`, `nuslerp`, `multislerp`, `karcher`, `median` | means, on a line, a sphere, by rank |
//! | `tasks` | task vectors, thinned out (`sparsify`, `largest`) and brought to agree on signs |
//! | `model_stock`, `nearswap`, `arcee_fusion`, `sce`, `passthrough` | a method each |
//! | `fisher`, `regmean` | means that know of samples how much weights matter (`measured`) |
//! | `made` | one tensor in the types of files |
//! | `operands`, `parameters`, `blocks`, `kernels`, `rounded` | what a method is given, and how large tensors are gone through |
//! | `merging` | a method and what it was told, for networks |

mod arcee_fusion;
mod blocks;
mod fisher;
mod karcher;
mod kernels;
mod largest;
mod linear;
mod made;
mod measured;
mod median;
mod merging;
mod model_stock;
mod multislerp;
mod nearswap;
mod nuslerp;
mod operands;
mod parameters;
mod passthrough;
mod regmean;
mod rounded;
mod sce;
mod slerp;
mod sparsify;
mod tasks;

use crate::error::FusionError;

pub use blocks::{BLOCK, Finish};
pub use made::{Stored, made, round};
pub use measured::{Information, LayerInputs, Measured, Products, Statistics};
pub use merging::{Choose, Merging};
pub use operands::{Operands, Values};
pub use parameters::{Numbers, Parameter, Scope};

/// All methods, in the order in which they are listed.
pub static METHODS: &[&dyn Merge] = &[
    &linear::Linear,
    &slerp::Slerp,
    &nuslerp::NuSlerp,
    &multislerp::MultiSlerp,
    &karcher::Karcher,
    &tasks::TASK_ARITHMETIC,
    &tasks::TIES,
    &tasks::DARE_LINEAR,
    &tasks::DARE_TIES,
    &tasks::DELLA_LINEAR,
    &tasks::DELLA,
    &tasks::BREADCRUMBS,
    &tasks::BREADCRUMBS_TIES,
    &model_stock::ModelStock,
    &nearswap::NearSwap,
    &arcee_fusion::ArceeFusion,
    &sce::Sce,
    &passthrough::Passthrough,
    &median::MEDIAN,
    &median::TRIMMED_MEAN,
    &fisher::Fisher,
    &regmean::RegMean,
];

/// The method of a name.
pub fn method(name: &str) -> Option<&'static dyn Merge> {
    METHODS.iter().copied().find(|method| method.name() == name)
}

/// A way to make one tensor of several of one shape that belong together.
pub trait Merge: Send + Sync + std::fmt::Debug {
    /// The method's name, as in files.
    fn name(&self) -> &'static str;

    /// What the method can be told.
    fn parameters(&self) -> &'static [Parameter];

    /// Whether one of the models is the base, from which the others differ by what they learned.
    fn base(&self) -> Base;

    /// How many models the method takes beside the base.
    fn others(&self) -> Others {
        Others::Any
    }

    /// What the method has to know of samples.
    fn needs(&self) -> Statistics {
        Statistics::None
    }

    /// Whether a model of weight 0 has no part, so that nobody has to ask for it.
    fn leaves_out_weightless(&self) -> bool {
        false
    }

    /// Whether each element depends on the same element of the models alone, so that parts of a tensor can be merged by
    /// themselves.
    fn is_elementwise(&self) -> bool {
        false
    }

    /// Looks at whole tensors as far as the method needs to, and says how elements are made. What comes does not depend on
    /// the number of threads.
    ///
    /// # Errors
    /// Those of the operands, handed on; [`FusionError::Merge`] for numbers that make no sense together.
    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError>;
}

/// What a method makes of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A base is a model like others.
    Unused,
    /// With a base, the differences from it are merged.
    Optional,
    /// There must be one.
    Required,
}

/// How many models a method takes beside its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One and more.
    Any,
    /// Two models, of which one may be the base.
    Pair,
    /// So many, or a base alone.
    Exactly(usize),
    /// So many and more, or a base alone.
    AtLeast(usize),
}

/// Refuses models that a method cannot work with: `base` is the place of the base among `models`.
///
/// # Errors
/// [`FusionError::Merge`] with what is expected and what was found.
pub fn check(method: &dyn Merge, models: usize, base: Option<usize>) -> Result<(), FusionError> {
    let wrong = |expected: String, found: String| Err(FusionError::Merge { method: method.name(), expected, found });
    if method.base() == Base::Required && base.is_none() {
        return wrong("a base model".into(), "none".into());
    }
    let has_base = base.is_some() && method.base() != Base::Unused;
    let others = models - usize::from(has_base);
    let beside = if has_base { " beside the base" } else { "" };
    match method.others() {
        Others::Pair if models != 2 && !(has_base && others == 0) => wrong("two models".into(), models.to_string()),
        Others::Exactly(count) if others != count && !(has_base && others == 0) => {
            wrong(format!("{}{beside}", counted(count)), others.to_string())
        }
        Others::AtLeast(count) if others < count && !(has_base && others == 0) => {
            wrong(format!("at least {}{beside}", counted(count)), others.to_string())
        }
        _ => Ok(()),
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "one model".into(),
        2 => "two models".into(),
        count => format!("{count} models"),
    }
}
