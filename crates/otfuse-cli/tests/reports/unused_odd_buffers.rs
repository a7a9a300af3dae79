//! Entries that no network of real numbers reads stay as they are; weights of 8 bits are computed with in 32.

use otfuse::formats::read_state_dict;

use crate::desk::Desk;

/// Whether a file holds these bytes.
fn holds(path: &str, wanted: &[u8]) -> bool {
    std::fs::read(path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[test]
fn complex_buffers_and_extra_state_stay() {
    let desk = Desk::of("unused_odd_buffers");
    for (kind, kept) in [("complex", &b"freqs"[..]), ("extra", b"_extra_state")] {
        let [a, b] = [1, 2].map(|at| desk.file(&format!("{kind}{at}.pt")));
        let out = desk.out(&format!("{kind}.pt"));
        let ran = desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
        assert!(holds(&out, kept), "{kind}");
        assert!(ran.stderr.contains(std::str::from_utf8(kept).unwrap()), "{}", ran.stderr);
        let (found, of_anchor) =
            (read_state_dict(out.as_ref(), None).unwrap(), read_state_dict(b.as_ref(), None).unwrap());
        assert_eq!(found.names().collect::<Vec<_>>(), of_anchor.names().collect::<Vec<_>>());
        assert_ne!(found.get("0.weight"), of_anchor.get("0.weight"));
        // Other formats cannot hold them, which is said.
        let ran = desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &desk.out("f.safetensors")]);
        assert!(ran.stderr.contains("holds the weights alone"), "{}", ran.stderr);
    }
}

#[test]
fn weights_of_8_bits_are_fused_and_rounded_once() {
    let desk = Desk::of("unused_odd_buffers");
    let (a, b, out) = (desk.file("float8_1.pt"), desk.file("float8_2.pt"), desk.out("f.pt"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    assert!(holds(&out, b"float8_e4m3fn"));
    let (found, of_anchor) = (read_state_dict(out.as_ref(), None).unwrap(), read_state_dict(b.as_ref(), None).unwrap());
    assert_ne!(found.get("0.weight"), of_anchor.get("0.weight"));
    desk.ends(0, &["fuse", &out, &out, "--arch", "mlp", "-o", &desk.out("same.pt")]);
    assert_eq!(read_state_dict(desk.out("same.pt").as_ref(), None).unwrap(), found);
}

#[test]
fn arrays_of_numpy_in_a_pickle_are_tensors() {
    let desk = Desk::of("unused_odd_buffers");
    let (a, b, out) = (desk.file("numpy1.pt"), desk.file("numpy2.pt"), desk.out("f.pt"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    let found = read_state_dict(out.as_ref(), None).unwrap();
    assert_eq!(found.names().collect::<Vec<_>>(), ["0.weight", "0.bias", "2.weight", "2.bias"]);
}
