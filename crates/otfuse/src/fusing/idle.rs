//! Options that change nothing as things are.

use otfuse_fusion::Alignment;

use super::ready::FusePlan;
use crate::{MergeName, ModeName, RepairName, SolverName};

/// The options that were given and have no effect, each with the reason.
pub(super) fn idle(ready: &FusePlan) -> Vec<(&'static str, String)> {
    let (options, plan) = (&ready.options, &ready.plan);
    let is_fitted = plan.repair == RepairName::LeastSquares;
    let fits = || format!("it is for `repair` least-squares, and the repair is {}", plan.repair);
    let is_matched = plan.settings.alignment != Alignment::None;
    let unmatched = || "nothing is aligned".to_owned();
    let records = plan.mode != ModeName::Weights;
    let recorded = || "neurons are matched by weights alone".to_owned();
    let ridge = options.ridge.is_some() && options.merge != Some(MergeName::RegMean);
    let sweeping = [
        ("sweeps", options.sweeps.is_some()),
        ("start", options.start.is_some()),
        ("starts", options.starts.is_some()),
        ("order", options.order.is_some()),
        ("members", options.members.is_some()),
        ("solver", options.solver.is_some()),
        ("cost", options.cost.is_some()),
    ];
    let mut found = vec![
        (
            "epsilon",
            options.epsilon.is_some() && is_matched && plan.solver != SolverName::Sinkhorn,
            format!("it is for `solver` sinkhorn, and the solver is {}", plan.solver),
        ),
        ("ridge", ridge && !is_fitted, fits()),
        ("repair_rounds", options.repair_rounds.is_some() && !is_fitted, fits()),
        (
            "repair_steps",
            options.repair_steps.is_some() && plan.repair != RepairName::Distill,
            format!("it is for `repair` distill, and the repair is {}", plan.repair),
        ),
        ("activation_point", options.activation_point.is_some() && !records, recorded()),
        ("activation_features", options.activation_features.is_some() && !records, recorded()),
        (
            "activation_share",
            options.activation_share.is_some() && plan.mode != ModeName::Both,
            format!("it is for `mode` both, and the mode is {}", plan.mode),
        ),
        (
            "consensus",
            options.consensus.is_some() && ready.models.len() < 3,
            "two models have one way to be aligned".to_owned(),
        ),
        ("depth", options.depth.is_some() && ready.depths.is_none(), "the networks are of one depth".to_owned()),
        ("pairs", options.pairs.is_some() && ready.depths.is_none(), "the networks are of one depth".to_owned()),
    ];
    found.extend(sweeping.map(|(name, is_given)| (name, is_given && !is_matched, unmatched())));
    found.into_iter().filter(|(_, is_idle, _)| *is_idle).map(|(name, _, why)| (name, why)).collect()
}
