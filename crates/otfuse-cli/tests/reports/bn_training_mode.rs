//! Batch normalisation in training mode: computed by the batch's own statistics, aligned as in inference.

use crate::desk::Desk;

#[test]
fn its_channels_are_proved_and_fused() {
    let desk = Desk::of("bn_training_mode");
    let (one, two, out) = (desk.file("1.onnx"), desk.file("2.onnx"), desk.out("f.onnx"));
    assert!(desk.ends(0, &["verify", &one]).stdout.contains("1 neuron group permuted"));
    let ran = desk.ends(0, &["fuse", &one, &two, "-o", &out]);
    assert!(!ran.stderr.contains("not proved"), "{}", ran.stderr);
    desk.ends(0, &["verify", &out]);
}
