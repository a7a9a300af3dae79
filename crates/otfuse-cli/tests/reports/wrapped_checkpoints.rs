//! What training programs keep beside the weights survives, and of several weights it is said which are read.

use otfuse::formats::pytorch::read_pytorch_under;
use otfuse::formats::read_state_dict;

use crate::desk::Desk;

#[test]
fn a_checkpoint_stays_a_checkpoint() {
    let desk = Desk::of("wrapped_checkpoints");
    let (a, b, out) = (desk.file("run1.ckpt"), desk.file("run2.ckpt"), desk.out("f.ckpt"));
    let ran = desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    assert!(ran.stderr.contains("what is beside the weights is that of") && ran.stderr.contains("optimizer_states"));
    let found = read_state_dict(out.as_ref(), None).unwrap();
    assert_eq!(found.provenance().found_under, ["state_dict"]);
    let bytes = std::fs::read(&out).unwrap();
    for kept in ["pytorch-lightning_version", "optimizer_states", "hyper_parameters", "ModelCheckpoint"] {
        assert!(bytes.windows(kept.len()).any(|found| found == kept.as_bytes()), "{kept}");
    }
    // With other widths its optimizer would not fit.
    let narrow = ["fuse", &a, &b, "--arch", "mlp", "-o", &out, "--target-width", "0.5"];
    let ran = desk.ends(0, &narrow);
    assert!(ran.stderr.contains("holds the weights alone"), "{}", ran.stderr);
    let flat = desk.out("f.pt");
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &flat]);
    let flat = read_state_dict(flat.as_ref(), None).unwrap();
    assert!(flat.provenance().found_under.is_empty());
    assert!(flat.iter().eq(found.iter()));
}

#[test]
fn averaged_weights_are_read_where_they_are_asked_for() {
    let desk = Desk::of("wrapped_checkpoints");
    let (a, b, out) = (desk.file("ema1.pt"), desk.file("ema2.pt"), desk.out("f.pt"));
    let ran = desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "-o", &out]);
    assert!(ran.stderr.contains("--weights-key ema_state_dict"), "{}", ran.stderr);
    let key = ["--weights-key", "ema_state_dict"];
    let ran = desk.ends(0, &["fuse", &a, &a, "--arch", "mlp", "-o", &out, key[0], key[1], "--repair", "none"]);
    assert!(!ran.stderr.contains("more weights"), "{}", ran.stderr);
    let (found, expected) =
        (read_state_dict(out.as_ref(), None).unwrap(), read_pytorch_under(a.as_ref(), "ema_state_dict").unwrap());
    assert!(found.iter().eq(expected.iter()));
    let wrong = ["fuse", &a, &b, "--arch", "mlp", "-o", &desk.out("g.pt"), "--weights-key", "ema"];
    desk.refuses(&wrong, &["ema_state_dict", "state_dict"]);
}

#[test]
fn an_architecture_for_each_network() {
    let desk = Desk::of("wrapped_checkpoints");
    let (a, b, out) = (desk.file("run1.ckpt"), desk.file("ema2.pt"), desk.out("f.pt"));
    desk.ends(0, &["fuse", &a, &b, "--arch", "mlp", "--arch", "mlp", "-o", &out]);
    let second = ["fuse", &a, &b, "--arch", "mlp", "--arch", "vgg", "-o", &desk.out("g.pt")];
    desk.refuses(&second, &["ema2.pt", "family 'vgg'"]);
    let wrong = ["fuse", &a, &b, "--arch", "mlp", "--arch", "mlp", "--arch", "mlp", "-o", &desk.out("g.pt")];
    desk.refuses(&wrong, &["--arch is given 3 times for 2 networks"]);
}
