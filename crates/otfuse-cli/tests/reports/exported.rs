//! One network has the same neuron groups, whichever exporter wrote it.

use crate::desk::Desk;

#[test]
fn all_exports_have_the_groups_of_the_network() {
    let desk = Desk::of("exported");
    for (name, groups) in [("gru", 4), ("attention", 4), ("norms", 2), ("pool", 1)] {
        for form in ["default", "plain", "old"] {
            let ran = desk.ends(0, &["verify", &desk.file(&format!("{name}.{form}.onnx")), "--json"]);
            let found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(found["free_groups"], groups, "{name}.{form}: {}", ran.stdout);
        }
    }
}

#[test]
fn tensors_that_were_written_once_can_be_written_apart() {
    let desk = Desk::of("exported");
    let out = desk.out("norms.onnx");
    desk.ends(0, &["fuse", &desk.file("norms.default.onnx"), &desk.file("norms.default.onnx"), "-o", &out]);
    let ran = desk.ends(0, &["verify", &out]);
    assert!(ran.stdout.contains("2 neuron groups permuted"), "{}", ran.stdout);
}
