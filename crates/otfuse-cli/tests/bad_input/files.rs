//! Damaged files of every format, and files that are none.

use std::collections::BTreeMap;

use super::networks::{numbers, perceptron};
use super::workshop::Workshop;

/// A checkpoint as `torch.save` wrote it before 1.6: `fc.weight` of shape 1 x 2.
fn legacy_checkpoint() -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(b"\x80\x02}X\x09\0\0\0fc.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n");
    file.extend(b"FloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x01K\x02\x86K\x02K\x01\x86\x89NtRs.");
    file.extend(b"\x80\x02]X\x01\0\0\x000a.");
    file.extend(2_i64.to_le_bytes());
    file.extend([0.5_f32, -1.0].map(f32::to_le_bytes).concat());
    file
}

/// A file with one byte changed.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x5a;
    bytes
}

#[test]
fn models() {
    let mut shop = Workshop::new();
    let network = perceptron(&[4, 6, 3], 1);
    shop.put("sound-legacy.pt", legacy_checkpoint());
    // Where each format's header can be hit: the length and the JSON of safetensors, the directory of a zip file.
    for (name, damage) in [
        ("sound.onnx", vec![0]),
        ("sound.safetensors", vec![6, 9]),
        ("sound.pt", vec![]),
        ("sound-legacy.pt", vec![15, 30]),
    ] {
        if name != "sound-legacy.pt" {
            shop.network(name, &network);
        }
        let bytes = shop.bytes(name);
        let damaged = name.replace("sound", "damaged");
        let line = format!("inspect {damaged} --arch mlp");
        shop.put(&damaged, b"");
        shop.refuses(&line, &[&damaged, "empty"]);
        for length in [1, bytes.len() / 4, bytes.len() / 2, bytes.len() - 1] {
            shop.put(&damaged, &bytes[..length]);
            shop.refuses(&line, &[&damaged, "expected", "found"]);
        }
        let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").filter(|_| name == "sound.pt");
        let name = bytes.windows(10).position(|window| window == b"fc1.weight").filter(|_| name == "sound.onnx");
        for at in damage.into_iter().chain(central).chain(name) {
            shop.put(&damaged, flipped(&bytes, at));
            shop.refuses(&line, &[&damaged]);
        }
    }
    shop.finish(25);
}

/// Any byte may be wrong; then the file is refused, or another network comes out, but nothing breaks.
#[test]
fn single_bytes() {
    let mut shop = Workshop::new();
    let network = perceptron(&[4, 6, 3], 1);
    shop.put("sound-legacy.pt", legacy_checkpoint());
    for name in ["sound.onnx", "sound.safetensors", "sound.pt", "sound-legacy.pt"] {
        if name != "sound-legacy.pt" {
            shop.network(name, &network);
        }
        let bytes = shop.bytes(name);
        let damaged = name.replace("sound", "damaged");
        for at in (0..bytes.len()).step_by(bytes.len() / 60) {
            shop.put(&damaged, flipped(&bytes, at));
            shop.survives(&format!("verify {damaged} --arch mlp"));
        }
    }
    shop.finish(240);
}

#[test]
fn other_things_than_models() {
    let mut shop = Workshop::new();
    shop.put("notes.txt", "These are notes, not weights.\n");
    shop.put("picture.pt", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0");
    shop.put("folder.onnx/file", "x");
    shop.put("page.safetensors", "<!DOCTYPE html><html><head><title>404</title></head></html>");
    shop.refuses("inspect notes.txt", &["notes.txt", "expected an ONNX model", "These"]);
    shop.refuses("inspect picture.pt", &["picture.pt", "PNG"]);
    shop.refuses("inspect page.safetensors", &["page.safetensors", "a web page"]);
    shop.refuses("inspect folder.onnx", &["folder.onnx", "a directory"]);
    shop.refuses("inspect absent.onnx", &["absent.onnx", "cannot open", "spelling"]);
    shop.refuses("convert absent.pt out/x.onnx --arch mlp", &["absent.pt", "cannot open"]);
    shop.finish(6);
}

#[test]
fn hostile_claims() {
    let mut shop = Workshop::new();
    let mut file = (1_u64 << 60).to_le_bytes().to_vec();
    file.extend(b"{\"w\":{}}");
    shop.put("header.safetensors", file);
    shop.refuses("inspect header.safetensors", &["header.safetensors", "header", "expected"]);
    let header = r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    shop.put("shape.safetensors", file);
    shop.refuses("inspect shape.safetensors", &["shape.safetensors", "w"]);
    // A pickle that calls os.system with a command that leaves a file behind.
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(b"\x80\x02cos\nsystem\nX\x0c\0\0\0touch hackedq\0\x85R.\x80\x02].");
    shop.put("call.pt", file);
    shop.refuses("inspect call.pt --arch mlp", &["call.pt", "os.system"]);
    shop.finish(3);
}

#[test]
fn arrays() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    let arrays = BTreeMap::from([("input".to_owned(), numbers(&[2, 4]))]);
    otfuse::formats::npz::write_npz(&shop.path("sound.npz"), &arrays).expect("written");
    let bytes = shop.bytes("sound.npz");
    let mut damages = vec![flipped(&bytes, 0), flipped(&bytes, bytes.len() - 22)];
    damages.extend([0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1].map(|length| bytes[..length].to_vec()));
    // The array's own header, and its data behind the checksum's back.
    let magic = bytes.windows(6).position(|window| window == b"\x93NUMPY").expect("an array");
    damages.push(flipped(&bytes, magic));
    for damage in damages {
        shop.put("damaged.npz", damage);
        shop.refuses("run a.onnx --inputs damaged.npz -o out/y.npz", &["damaged.npz"]);
        shop.refuses("eval a.onnx --data npz:damaged.npz", &["damaged.npz"]);
    }
    shop.put("folder.npz/file", "x");
    shop.refuses("run a.onnx --inputs folder.npz -o out/y.npz", &["folder.npz", "a directory"]);
    shop.refuses("run a.onnx --inputs absent.npz -o out/y.npz", &["absent.npz", "cannot open"]);
    shop.refuses("eval a.onnx --data npz:folder.npz", &["folder.npz"]);
    shop.refuses("eval a.onnx --data npz:absent.npz", &["absent.npz"]);
    shop.finish(20);
}
