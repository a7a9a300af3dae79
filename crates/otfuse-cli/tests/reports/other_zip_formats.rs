//! Files of other formats are called by their names, and no file is given a name that it is not.

use otfuse::formats::npz::read_npz;
use otfuse::formats::read_state_dict;

use crate::desk::Desk;

#[test]
fn what_is_not_read_is_named_with_the_way_out() {
    let desk = Desk::of("other_zip_formats");
    for (file, words) in [
        ("program.pt2", ["torch.export", "torch.onnx.export"]),
        ("net.keras", ["Keras", "onnx"]),
        ("net.h5", ["HDF5", "onnx"]),
        ("net.gguf", ["GGUF", "Hugging Face"]),
        ("net.safetensors", ["Git LFS", "git lfs pull"]),
    ] {
        desk.refuses(&["inspect", &desk.file(file)], &words);
        desk.refuses(&["inspect", &desk.file(file), "--arch", "mlp"], &words);
    }
}

#[test]
fn arrays_of_numpy_are_a_state_dict() {
    let desk = Desk::of("other_zip_formats");
    let (a, b, out) = (desk.file("net1.npz"), desk.file("net2.npz"), desk.out("f.npz"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    let found = read_npz(out.as_ref()).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["0.bias", "0.weight", "2.bias", "2.weight"]);
    // The same weights as tensors, and the same result.
    desk.ends(0, &["convert", &a, &desk.out("a.pt"), "--arch", "mlp"]);
    desk.ends(0, &["convert", &b, &desk.out("b.pt"), "--arch", "mlp"]);
    desk.ends(0, &["fuse", &desk.out("a.pt"), &desk.out("b.pt"), "--arch", "mlp", "-o", &desk.out("f.pt")]);
    for (name, tensor) in read_state_dict(desk.out("f.pt").as_ref(), None).unwrap() {
        assert_eq!(found[&name], tensor, "{name}");
    }
}

#[test]
fn a_torch_script_program_stays_one() {
    let desk = Desk::of("other_zip_formats");
    let (a, b, out) = (desk.file("script1.pt"), desk.file("script2.pt"), desk.out("f.pt"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    let bytes = std::fs::read(&out).unwrap();
    assert!(bytes.windows(13).any(|bytes| bytes == b"constants.pkl"), "no program");
    let found = read_state_dict(out.as_ref(), None).unwrap();
    assert_eq!(found.names().collect::<Vec<_>>(), ["0.weight", "0.bias", "2.weight", "2.bias"]);
    assert_ne!(found, read_state_dict(b.as_ref(), None).unwrap());
}

#[test]
fn an_extension_that_stands_for_nothing_is_refused() {
    let desk = Desk::of("other_zip_formats");
    let net = desk.file("net.pt");
    for name in ["f.h5", "f.gguf", "f.keras", "f.pt2", "f.safetensor", "f.xyz"] {
        let out = desk.out(name);
        let words = [".onnx, .safetensors, .pt", "expected an extension"];
        desk.refuses(&["convert", &net, &out, "--arch", "mlp"], &words);
        desk.refuses(&["fuse", &net, &net, "-o", &out, "--arch", "mlp"], &words);
        desk.refuses(&["align", &net, &net, "-o", &out, "--arch", "mlp"], &words);
        desk.refuses(&["prune", &net, "-o", &out, "--arch", "mlp", "--amount", "0.5"], &words);
    }
    desk.refuses(&["convert", &net, &desk.out("f.safetensor"), "--arch", "mlp"], &["did you mean .safetensors?"]);
    desk.ends(0, &["convert", &net, &desk.out("f.pth.tar"), "--arch", "mlp"]);
}
