//! Files of settings as mergekit writes them.

use otfuse::formats::read_state_dict;

use crate::desk::Desk;

#[test]
fn the_element_type_of_the_result() {
    let desk = Desk::of("fp16_intermediate");
    let (path, out) = (desk.out("settings.yml"), desk.out("f.safetensors"));
    let text = format!(
        "models:\n  - model: {0}\n    parameters:\n      weight: 0.3\n  - model: {1}\n    parameters:\n      weight: 0.7\n\
         merge_method: linear\nparameters:\n  normalize: true\ndtype: bfloat16\narch: mlp\n",
        desk.file("half.pt"),
        desk.out("again.pt")
    );
    std::fs::copy(desk.file("half.pt"), desk.out("again.pt")).unwrap();
    std::fs::write(&path, text).unwrap();
    desk.ends(0, &["fuse", &path, "-o", &out]);
    let found = read_state_dict(out.as_ref(), None).unwrap();
    assert!(found.iter().all(|(_, tensor)| tensor.data_type() == otfuse::graph::DataType::BF16));
}

#[test]
fn names_on_the_hub_are_to_be_downloaded() {
    let desk = Desk::of("fp16_intermediate");
    let out = desk.out("f");
    desk.refuses(&["fuse", "org/model-a", "org/model-b", "-o", &out], &["hf download org/model-a --local-dir"]);
    desk.refuses(&["fuse", "missing/a.pt", "b.pt", "-o", &out], &["check the spelling"]);
}
