//! A bias of zeros that is cast like the input and expanded, as the exporter without optimisation writes it.

use crate::desk::Desk;

#[test]
fn convolutions_with_biases_of_zeros_keep_orders_of_their_own() {
    let desk = Desk::of("castlike");
    let (one, two, out) = (desk.file("1.onnx"), desk.file("2.onnx"), desk.out("f.onnx"));
    for file in [&one, &two] {
        assert!(desk.ends(0, &["verify", file]).stdout.contains("2 neuron groups permuted"));
    }
    let ran = desk.ends(0, &["fuse", &one, &two, "-o", &out]);
    assert!(!ran.stderr.contains("not proved"), "{}", ran.stderr);
    desk.ends(0, &["verify", &out]);
}
