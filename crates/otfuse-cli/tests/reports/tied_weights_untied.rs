//! Tensors of one storage are one weight: aligned, averaged and written once.

use otfuse::formats::read_state_dict;

use crate::desk::Desk;

fn one(path: &str, names: [&str; 2]) {
    let found = read_state_dict(path.as_ref(), None).unwrap();
    assert_eq!(found.get(names[0]), found.get(names[1]));
    assert!(found.tied().contains(&names.to_vec()), "{:?}", found.tied());
}

#[test]
fn a_layer_that_is_used_twice_stays_one() {
    let desk = Desk::of("tied_weights_untied");
    let (a, b, out) = (desk.file("shared1.pt"), desk.file("shared2.pt"), desk.out("f.pt"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    one(&out, ["net.2.weight", "net.4.weight"]);
    one(&out, ["net.2.bias", "net.4.bias"]);
    desk.ends(0, &["verify", &out, "--arch", "mlp"]);
}

#[test]
fn an_embedding_that_is_the_last_layer_stays_one() {
    let desk = Desk::of("tied_weights_untied");
    let (a, b, arch) = (desk.file("tied1.pt"), desk.file("tied2.pt"), desk.file("tied.onnx"));
    let out = desk.out("f.pt");
    let ran = desk.ends(0, &["fuse", &a, &b, "--arch", &arch, "-o", &out]);
    one(&out, ["embedding.weight", "head.weight"]);
    // The width of the embedding is that of the last layer's input.
    assert!(ran.stdout.contains("in 1 group"), "{}", ran.stdout);
    // The exporter wrote the matrix twice, and the result is written so.
    let onnx = desk.out("f.onnx");
    desk.ends(0, &["fuse", &a, &b, "--arch", &arch, "-o", &onnx]);
    desk.ends(0, &["verify", &onnx]);
}
