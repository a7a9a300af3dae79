//! Networks whose weights are integers: an average of scales beside the integers of one of them is neither.

use crate::desk::Desk;

#[test]
fn integer_weights_are_refused_by_name() {
    let desk = Desk::of("int8_onnx");
    for (form, node) in [("qdq", "DequantizeLinear"), ("qop", "QLinearConv"), ("dyn", "ConvInteger")] {
        let [one, two] = ["1", "2"].map(|number| desk.file(&format!("{form}{number}.onnx")));
        let out = desk.out("f.onnx");
        let words = ["weights are integers", "fuse the float networks, then quantise", "weight_quantized", node];
        desk.refuses(&["fuse", &one, &two, "-o", &out], &words);
        desk.refuses(&["fuse", &one, &two, "-o", &out, "--no-verify", "--method", "average"], &words);
    }
}
