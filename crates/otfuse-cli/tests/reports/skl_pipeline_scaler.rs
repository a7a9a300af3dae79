//! Pipelines of scikit-learn: what stands before and behind the network is read, or left out of the proof.

use crate::desk::Desk;

#[test]
fn networks_behind_a_scaler_are_aligned() {
    let desk = Desk::of("skl_pipeline_scaler");
    for name in ["scaled", "mapped", "named", "normed"] {
        let [one, two] = ["1", "2"].map(|number| desk.file(&format!("{name}{number}.onnx")));
        let ran = desk.ends(0, &["verify", &one]);
        assert!(ran.stdout.contains("2 neuron groups permuted"), "{name}: {}", ran.stdout);
        let out = desk.out(&format!("{name}.onnx"));
        let ran = desk.ends(0, &["fuse", &one, &two, "-o", &out]);
        assert!(!ran.stderr.contains("not proved"), "{name}: {}", ran.stderr);
        desk.ends(0, &["verify", &out]);
    }
}
