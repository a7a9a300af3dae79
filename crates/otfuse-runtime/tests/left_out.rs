//! What a program says whose features were left out.
#![cfg(not(feature = "images"))]

use otfuse_runtime::dataset::{DataSpec, DatasetError, Split};

#[test]
fn images_are_refused() {
    let spec: DataSpec = "images:folder".parse().unwrap();
    let error = spec.load(Split::Train, None, None).unwrap_err();
    assert!(matches!(error, DatasetError::NotBuilt { feature: "images", .. }), "{error}");
    assert!(error.hint().contains("--features images"));
}
