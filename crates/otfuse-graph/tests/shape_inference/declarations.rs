use otfuse_graph::{DataType, Declared, Dim, Facts, GraphEditor, InferenceError, Mismatch, Operator, Shape, Unary};

/// The shape of an operator's output that the file declares.
fn declared(operator: Operator, shape: Shape) -> Result<Shape, InferenceError> {
    let mut editor = GraphEditor::new("test");
    let of_shape = |shape| Some(Declared { data_type: DataType::F32, shape: Some(shape) });
    let x = editor.add_value("x", of_shape(vec![Dim::symbol("batch"), Dim::known(3)]));
    let y = editor.add_value("y", of_shape(shape));
    editor.add_input(x);
    editor.add_output(y);
    editor.add_node("node", operator, vec![Some(x)], vec![Some(y)]);
    let graph = editor.finish().unwrap();
    Ok(Facts::of(&graph)?.shape(y).unwrap().clone())
}

#[test]
fn declarations_complete_what_is_inferred() {
    let relu = || Operator::Unary(Unary::Relu);
    let (batch, free) = (Dim::symbol("batch"), Dim::symbol("free"));
    let three = Dim::known(3);
    assert_eq!(declared(relu(), vec![free.clone(), free.clone()]).unwrap(), [batch, three.clone()]);
    assert_eq!(declared(relu(), vec![8.into(), free.clone()]).unwrap(), [8.into(), three.clone()]);
    let opaque = Operator::Opaque { domain: String::new(), name: "NonMaxSuppression".into(), reason: String::new() };
    assert_eq!(declared(opaque, vec![free.clone(), three.clone()]).unwrap(), [free, three]);
}

#[test]
fn contradictions_are_errors() {
    for wrong in [vec![Dim::symbol("batch"), 4.into()], vec![3.into()]] {
        let error = declared(Operator::Identity, wrong).unwrap_err();
        assert_eq!((error.node.as_str(), error.value.as_deref()), ("node", Some("y")));
        assert!(matches!(*error.mismatch, Mismatch::Declared { .. }), "{error}");
    }
}
