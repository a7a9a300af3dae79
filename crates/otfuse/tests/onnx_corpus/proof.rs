//! The groups hold: permuting them leaves the outputs as they are.

use otfuse::runtime::Host;
use otfuse::verify_graph;

use crate::collection::{collection, network};
use crate::groups::NETWORKS;

#[test]
fn networks_are_verified() {
    let Some(folder) = collection() else { return };
    let mut failures = Vec::new();
    for network_groups in NETWORKS {
        let name = network_groups.name;
        // Outputs that do not differ at all may have been rounded alike once, but not for every order.
        let mut vacuous = true;
        for seed in [1, 2] {
            match verify_graph(&network(&folder, name), seed, &Host::default()) {
                Ok(proof) => {
                    let (error, perturbed) = (proof.max_rel_error, proof.perturbed);
                    eprintln!("{name}: {error:.1e}, perturbed: {perturbed}, absolute {:.1e}", proof.max_abs_error);
                    vacuous &= !proof.groups.is_empty() && proof.max_abs_error == 0.0;
                    if proof.max_rel_error >= 1e-4 {
                        failures.push(format!("{name}: {error:e}, group {:?}", proof.broken_group));
                    }
                }
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
        if vacuous {
            failures.push(format!("{name}: nothing is proved"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn what_cannot_be_executed_is_named() {
    let Some(folder) = collection() else { return };
    let networks = [("misc/superresolution_op18.onnx", "DecodeImage", "DecodeImage")];
    for (name, operator, node) in networks {
        let error = verify_graph(&network(&folder, name), 1, &Host::default()).expect_err("a refusal").to_string();
        assert!(error.contains(operator) && error.contains(node), "{name}: {error}");
    }
}
