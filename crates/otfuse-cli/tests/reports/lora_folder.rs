//! Adapters in place of networks.

use crate::desk::Desk;

#[test]
fn an_adapter_is_called_one() {
    let desk = Desk::of("lora-folder");
    let [first, second, other, out] = [desk.file("first"), desk.file("second"), desk.file("other"), desk.out("fused")];
    let hint = "otfuse merge-lora BASE ADAPTER -o MERGED";
    desk.refuses(&["fuse", &first, &second, "-o", &out], &["a LoRA adapter of 'somebody/small'", hint]);
    desk.refuses(&["inspect", &other], &["an adapter of kind IA3", "merge_and_unload"]);
}

#[test]
fn so_are_its_tensors() {
    let desk = Desk::of("lora-folder");
    let [first, second] = ["first", "second"].map(|name| desk.file(&format!("{name}/adapter_model.safetensors")));
    let out = desk.out("fused.safetensors");
    for architecture in [&[][..], &["--arch", "mlp"]] {
        let fuse = [&["fuse", &first, &second, "-o", &out], architecture].concat();
        let ran = desk.refuses(&fuse, &["the tensors of a LoRA adapter", "otfuse merge-lora"]);
        assert!(!ran.stderr.contains("--arch FILE.onnx"), "{}", ran.stderr);
    }
}
