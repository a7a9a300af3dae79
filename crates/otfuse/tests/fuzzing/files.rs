//! Damaged files of data, and folders of Hugging Face: files are written and read as a user's are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use otfuse::formats::npz::{write_npy, write_npz};
use otfuse::graph::Tensor;
use otfuse::{Context, Dataset, Model, architecture_for, verify};
use rand_chacha::ChaCha8Rng;

use super::{cases, damaged};

/// A picture of 6 x 6 grey pixels.
const PICTURE: [u8; 108] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 6, 0, 0, 0, 6, 8, 0, 0, 0, 0, 197, 167, 176,
    148, 0, 0, 0, 51, 73, 68, 65, 84, 120, 218, 99, 96, 144, 183, 139, 173, 153, 205, 32, 104, 224, 159, 215, 187, 134,
    65, 201, 49, 161, 126, 222, 94, 6, 227, 160, 194, 9, 235, 207, 49, 184, 36, 55, 45, 60, 112, 159, 33, 180, 100,
    242, 166, 139, 31, 0, 37, 19, 16, 225, 62, 200, 17, 183, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// A folder that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otfuse-fuzzing-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Damages a file, reads what `open` reads of it, and puts it back.
fn damaged_in_place(target: &str, path: &Path, open: impl Fn()) {
    let seed = std::fs::read(path).expect("read");
    let run = |bytes: &[u8]| {
        std::fs::write(path, bytes).expect("written");
        open();
    };
    cases(target, |random: &mut ChaCha8Rng| damaged(&seed, random), run);
    std::fs::write(path, &seed).expect("written");
}

#[test]
fn damaged_data() {
    let folder = Folder::new("data");
    let x = Tensor::from_f32(&[6, 3], (0..18_u8).map(f32::from).collect());
    let y = Tensor::from_i64(&[6], vec![0, 1, 2, 0, 1, 2]);
    let arrays = BTreeMap::from([("x".to_owned(), x.clone()), ("y".to_owned(), y)]);
    write_npz(&folder.0.join("a.npz"), &arrays).expect("written");
    write_npy(&folder.0.join("a.npy"), &x).expect("written");
    std::fs::write(folder.0.join("a.csv"), "a,b,label\n0.5,1e3,0\n-2,\"3\",1\n,nan,2\n").expect("written");
    std::fs::write(folder.0.join("a.txt"), "the cat sat on the mat\n".repeat(8)).expect("written");
    let pictures = folder.0.join("pictures");
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(pictures.join(class)).expect("a folder");
        std::fs::write(pictures.join(class).join("0.png"), PICTURE).expect("written");
    }
    let picture = pictures.join("cat").join("0.png");
    for (target, file, spec) in [
        ("data-npz", folder.0.join("a.npz"), format!("npz:{}", folder.0.join("a.npz").display())),
        ("data-npy", folder.0.join("a.npy"), format!("npy:{}", folder.0.join("a.npy").display())),
        ("data-csv", folder.0.join("a.csv"), format!("csv:{}", folder.0.join("a.csv").display())),
        ("data-text", folder.0.join("a.txt"), format!("text@4:{}", folder.0.join("a.txt").display())),
        ("data-images", picture, format!("images:{}", pictures.display())),
    ] {
        damaged_in_place(target, &file, || {
            if let Ok(data) = Dataset::open(&spec) {
                let _ = data.train();
                let _ = data.test_if_any();
            }
        });
    }
}

#[test]
fn damaged_folders() {
    let folder = Folder::new("folders");
    let text = folder.0.join("text.txt");
    std::fs::write(&text, "the cat sat on the mat and the dog lay on the rug. ".repeat(20)).expect("written");
    let samples = Dataset::open(&format!("text@8:{}", text.display())).and_then(|data| data.train()).expect("data");
    for family in ["gpt2:1,8,2", "llama:1,8,2", "bert:1,8,2"] {
        let Ok(network) = architecture_for(family, &samples, 1) else { continue };
        let path = folder.0.join(family.split(':').next().unwrap_or(family));
        network.save(&network.graph, &path).expect("saved");
        let used = || {
            let Ok(model) = Model::open(&path) else { return };
            let context = Context::new();
            let _ = otfuse::inspect(&model, &context);
            let _ = verify(&model, 0, &context);
        };
        damaged_in_place(&format!("settings-{family}"), &path.join("config.json"), used);
        damaged_in_place(&format!("weights-{family}"), &path.join("model.safetensors"), used);
    }
}
