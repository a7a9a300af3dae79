//! Linear CKA against numpy (`golden/cka.py`).

use otfuse_fusion::Gram;
use serde_json::Value;

#[test]
fn linear_cka_equals_numpy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cka.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON");
    assert!(cases.len() >= 4);
    for case in &cases {
        let samples = case["samples"].as_u64().expect("a count") as usize;
        let gram = |key: &str| {
            let values = case[key].as_array().expect("numbers").iter();
            let values: Vec<f32> = values.map(|value| value.as_f64().expect("a number") as f32).collect();
            Gram::new(samples, &values).expect("whole rows")
        };
        let found = gram("x").similarity(&gram("y")).expect("layers that tell samples apart");
        let expected = case["cka"].as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        assert!((gram("y").similarity(&gram("x")).expect("the same") - found).abs() < 1e-12);
    }
}
