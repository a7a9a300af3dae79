//! Results that cannot be written, or would overwrite what they come from.

use std::collections::BTreeMap;

use super::networks::{numbers, perceptron};
use super::workshop::Workshop;

#[test]
fn unwritable() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    shop.network("b.onnx", &perceptron(&[4, 6, 3], 2));
    let arrays = BTreeMap::from([("input".to_owned(), numbers(&[2, 4]))]);
    otfuse::formats::npz::write_npz(&shop.path("x.npz"), &arrays).expect("written");
    for command in ["fuse a.onnx b.onnx -o", "convert a.onnx", "run a.onnx --inputs x.npz -o"] {
        shop.refuses(&format!("{command} missing/y.npz"), &["missing/y.npz", "cannot create", "create the folder"]);
        shop.refuses(&format!("{command} out"), &["out", "expected a file, found a directory"]);
        shop.refuses(&format!("{command} a.onnx/y.npz"), &["a.onnx/y.npz", "cannot create"]);
        if cfg!(target_os = "linux") {
            shop.refuses(&format!("{command} /dev/full"), &["/dev/full", "a device"]);
            shop.refuses(&format!("{command} /proc/y.npz"), &["/proc/y.npz", "cannot create"]);
        }
    }
    shop.refuses("fuse a.onnx b.onnx -o out/x.onnx --save-alignment missing/x.json", &["missing/x.json"]);
    shop.refuses("fuse a.onnx b.onnx -o out/x.onnx --save-alignment out", &["out", "a directory"]);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::FileTypeExt;
        let device = std::fs::metadata("/dev/full").expect("a device").file_type();
        assert!(device.is_char_device(), "the device was replaced");
    }
    shop.finish(11);
}

#[test]
fn over_an_input() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    shop.network("b.onnx", &perceptron(&[4, 6, 3], 2));
    let arrays = BTreeMap::from([("input".to_owned(), numbers(&[2, 4]))]);
    otfuse::formats::npz::write_npz(&shop.path("x.npz"), &arrays).expect("written");
    let expected = "the output is one of the inputs";
    shop.refuses("fuse a.onnx b.onnx -o a.onnx", &["a.onnx", expected]);
    shop.refuses("fuse a.onnx b.onnx -o out/../b.onnx", &["b.onnx", expected]);
    shop.refuses("fuse a.onnx b.onnx -o out/x.onnx --save-alignment a.onnx", &["a.onnx", expected]);
    shop.refuses("fuse a.onnx b.onnx -o out/x.onnx --save-alignment out/x.onnx", &["out/x.onnx", "the same file"]);
    shop.refuses("convert a.onnx ./a.onnx", &["a.onnx", expected]);
    shop.refuses("run a.onnx --inputs x.npz -o x.npz", &["x.npz", expected]);
    shop.refuses("run a.onnx --inputs x.npz -o a.onnx", &["a.onnx", expected]);
    shop.finish(7);
}
