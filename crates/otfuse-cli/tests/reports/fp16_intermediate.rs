//! What is computed on the way is not rounded to 16 bits; what 16 bits cannot hold is not written.

use otfuse::formats::read_state_dict;

use crate::desk::Desk;

#[test]
fn a_result_that_fits_16_bits_is_not_lost_on_the_way() {
    let desk = Desk::of("fp16_intermediate");
    let out = desk.out("f.pt");
    desk.ends(0, &["fuse", &desk.file("wide.pt"), &desk.file("half.pt"), "--arch", "mlp", "-o", &out]);
    let found = read_state_dict(out.as_ref(), None).unwrap();
    for (name, tensor) in found.iter() {
        assert_eq!(tensor.data_type(), otfuse::graph::DataType::F16);
        assert_eq!(tensor.find(|value| !value.is_finite()), None, "{name}");
    }
}

#[test]
fn what_16_bits_cannot_hold_is_refused() {
    let desk = Desk::of("fp16_intermediate");
    let (half, out) = (desk.file("half.pt"), desk.out("f.pt"));
    for parent in ["wide.pt", "too_wide.pt"] {
        let words = ["0.weight", "float16", "the parents are finite", "--dtype float32"];
        let fuse = ["fuse", &desk.file(parent), &half, "--arch", "mlp", "-o", &out, "--method", "average"];
        desk.refuses(&fuse, &words);
    }
    let wide = desk.file("wide_end.pt");
    desk.refuses(&["fuse", &wide, &half, "--arch", "mlp", "-o", &out], &["4.bias", "float16"]);
    // The hint, followed; and the other way to say it.
    desk.ends(0, &["fuse", &half, &wide, "--arch", "mlp", "-o", &out]);
    desk.ends(0, &["fuse", &wide, &half, "--arch", "mlp", "-o", &out, "--dtype", "float32"]);
    let found = read_state_dict(out.as_ref(), None).unwrap();
    assert!(found.iter().all(|(_, tensor)| tensor.data_type() == otfuse::graph::DataType::F32));
    desk.refuses(&["fuse", &half, &wide, "--arch", "mlp", "-o", &desk.out("g.pt"), "--dtype", "float16"], &["4.bias"]);
}
