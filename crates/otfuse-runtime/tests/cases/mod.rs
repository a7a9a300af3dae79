//! The operators of `golden/gen_operators.py`.

use std::collections::BTreeMap;

use otfuse_graph::{
    Aspect, Binary, Cell, Conv, ConvTranspose, Coordinates, DataType, DepthOrder, Einsum, Gemm, Graph, GraphEditor,
    Nearest, Operator, PadMode, Padding, Pool, PoolKind, Recurrent, Reduce, ReduceKind, Resize, ResizeMode,
    ScatterReduction, Tensor, Unary, Variadic, Window,
};
use serde_json::Value;

fn window(strides: &[usize], dilations: &[usize], pads: &[usize]) -> Window {
    Window { strides: strides.to_vec(), dilations: dilations.to_vec(), padding: Padding::Explicit(pads.to_vec()) }
}

fn same(strides: &[usize], padding: Padding) -> Window {
    Window { strides: strides.to_vec(), padding, ..Window::default() }
}

fn einsum(equation: &str) -> Operator {
    Operator::Einsum(Einsum::parse(equation).unwrap())
}

fn conv(groups: usize, window: Window) -> Operator {
    Operator::Conv(Conv { groups, window })
}

fn transposed(groups: usize, window: Window, extra: &[usize], shape: Option<&[usize]>) -> Operator {
    Operator::ConvTranspose(ConvTranspose {
        groups,
        window,
        output_padding: extra.to_vec(),
        output_shape: shape.map(<[usize]>::to_vec),
    })
}

fn pool(kind: PoolKind, kernel: &[usize], window: Window, ceil: bool, count_include_pad: bool) -> Operator {
    Operator::Pool(Pool { kind, kernel: kernel.to_vec(), window, ceil, count_include_pad })
}

fn reduce(kind: ReduceKind, keep_dims: bool) -> Operator {
    Operator::Reduce(Reduce { kind, keep_dims, noop_with_empty_axes: false })
}

pub fn operators() -> BTreeMap<&'static str, Operator> {
    let mut cases = elementwise();
    cases.extend(windows());
    cases.extend(rest());
    cases.extend(recurrent());
    cases.extend(moves());
    cases.into_iter().collect()
}

fn elementwise() -> Vec<(&'static str, Operator)> {
    use Operator::{Binary as B, Unary as U, Variadic as V};
    vec![
        ("Relu", U(Unary::Relu)),
        ("Sigmoid", U(Unary::Sigmoid)),
        ("Tanh", U(Unary::Tanh)),
        ("Exp", U(Unary::Exp)),
        ("Log", U(Unary::Log)),
        ("Sqrt", U(Unary::Sqrt)),
        ("Reciprocal", U(Unary::Reciprocal)),
        ("Abs", U(Unary::Abs)),
        ("Neg", U(Unary::Neg)),
        ("Sign", U(Unary::Sign)),
        ("Erf", U(Unary::Erf)),
        ("Floor", U(Unary::Floor)),
        ("Ceil", U(Unary::Ceil)),
        ("Round", U(Unary::Round)),
        ("Sin", U(Unary::Sin)),
        ("Cos", U(Unary::Cos)),
        ("Tan", U(Unary::Tan)),
        ("Softplus", U(Unary::Softplus)),
        ("Softsign", U(Unary::Softsign)),
        ("Mish", U(Unary::Mish)),
        ("HardSwish", U(Unary::HardSwish)),
        ("LeakyRelu", U(Unary::LeakyRelu { alpha: 0.2 })),
        ("Elu", U(Unary::Elu { alpha: 1.5 })),
        ("Celu", U(Unary::Celu { alpha: 0.7 })),
        ("Selu", U(Unary::Selu { alpha: 1.673_263_2, gamma: 1.050_701 })),
        ("HardSigmoid", U(Unary::HardSigmoid { alpha: 0.3, beta: 0.4 })),
        ("ThresholdedRelu", U(Unary::ThresholdedRelu { alpha: 0.5 })),
        ("Gelu", U(Unary::Gelu { tanh: false })),
        ("Gelu_tanh", U(Unary::Gelu { tanh: true })),
        ("Not", U(Unary::Not)),
        ("Add", B(Binary::Add)),
        ("Sub", B(Binary::Sub)),
        ("Mul", B(Binary::Mul)),
        ("Div", B(Binary::Div)),
        ("Div_integers", B(Binary::Div)),
        ("Pow", B(Binary::Pow)),
        ("Pow_scalar", B(Binary::Pow)),
        ("Mod", B(Binary::Mod { truncated: false })),
        ("Mod_truncated", B(Binary::Mod { truncated: true })),
        ("Equal", B(Binary::Equal)),
        ("Less", B(Binary::Less)),
        ("LessOrEqual", B(Binary::LessOrEqual)),
        ("Greater", B(Binary::Greater)),
        ("GreaterOrEqual", B(Binary::GreaterOrEqual)),
        ("And", B(Binary::And)),
        ("Or", B(Binary::Or)),
        ("Xor", B(Binary::Xor)),
        ("Sum", V(Variadic::Sum)),
        ("Mean", V(Variadic::Mean)),
        ("Min", V(Variadic::Min)),
        ("Max", V(Variadic::Max)),
        ("PRelu", Operator::PRelu),
        ("Clip", Operator::Clip),
        ("Clip_above", Operator::Clip),
        ("Clip_integers", Operator::Clip),
        ("Where", Operator::Where),
        ("Where_integers", Operator::Where),
    ]
}

fn windows() -> Vec<(&'static str, Operator)> {
    use PoolKind::{Average, Max};
    vec![
        ("Conv", conv(1, window(&[2, 1], &[], &[1, 0, 2, 1]))),
        ("Conv_dilated_groups", conv(2, window(&[], &[2, 1], &[1, 1, 1, 1]))),
        ("Conv_depthwise", conv(3, window(&[2, 2], &[], &[1, 1, 1, 1]))),
        ("Conv_same_upper", conv(1, same(&[2, 2], Padding::SameUpper))),
        ("Conv_same_lower", conv(1, same(&[2, 2], Padding::SameLower))),
        ("Conv_1d", conv(1, window(&[], &[2], &[2, 1]))),
        ("Conv_3d", conv(1, window(&[1, 2, 1], &[], &[1, 0, 1, 0, 1, 1]))),
        ("ConvTranspose", transposed(1, window(&[2, 2], &[], &[1, 0, 1, 2]), &[1, 1], None)),
        ("ConvTranspose_groups", transposed(2, window(&[], &[2, 1], &[]), &[], None)),
        ("ConvTranspose_shape", transposed(1, window(&[3, 2], &[], &[]), &[], Some(&[10, 8]))),
        ("ConvTranspose_same", transposed(1, same(&[2, 2], Padding::SameUpper), &[], None)),
        ("ConvTranspose_1d", transposed(1, window(&[2], &[], &[1, 1]), &[], None)),
        ("ConvTranspose_3d", transposed(1, window(&[2, 1, 1], &[], &[]), &[], None)),
        ("MaxPool", pool(Max, &[3, 2], window(&[2, 2], &[], &[1, 0, 1, 1]), false, false)),
        ("MaxPool_ceil", pool(Max, &[3, 3], window(&[2, 2], &[], &[]), true, false)),
        ("MaxPool_ceil_pads", pool(Max, &[2, 3], window(&[3, 2], &[], &[1, 1, 1, 1]), true, false)),
        ("MaxPool_dilated", pool(Max, &[2, 3], window(&[], &[2, 2], &[]), false, false)),
        ("MaxPool_same", pool(Max, &[2, 3], same(&[2, 2], Padding::SameLower), false, false)),
        ("MaxPool_1d", pool(Max, &[3], window(&[2], &[], &[1, 1]), false, false)),
        ("MaxPool_3d", pool(Max, &[2, 2, 3], window(&[2, 1, 2], &[], &[]), false, false)),
        ("AveragePool", pool(Average, &[3, 2], window(&[2, 2], &[], &[1, 0, 1, 1]), false, false)),
        ("AveragePool_include", pool(Average, &[3, 2], window(&[2, 2], &[], &[1, 0, 1, 1]), false, true)),
        ("AveragePool_ceil", pool(Average, &[3, 3], window(&[2, 2], &[], &[]), true, false)),
        ("AveragePool_ceil_include", pool(Average, &[3, 3], window(&[2, 2], &[], &[1, 1, 0, 0]), true, true)),
        ("AveragePool_1d", pool(Average, &[3], window(&[2], &[], &[1, 0]), false, false)),
        ("AveragePool_3d", pool(Average, &[2, 2, 3], window(&[2, 1, 2], &[], &[0, 1, 0, 0, 0, 1]), false, false)),
        ("AveragePool_dilated", pool(Average, &[2, 3], window(&[], &[2, 2], &[]), false, false)),
        ("GlobalAveragePool", Operator::GlobalPool(Average)),
        ("GlobalMaxPool", Operator::GlobalPool(Max)),
    ]
}

fn rest() -> Vec<(&'static str, Operator)> {
    let gemm = Gemm { alpha: 0.5, beta: 2.0, transpose_a: true, transpose_b: true };
    let arg = |largest, axis, keep_dims| Operator::ArgExtremum { largest, axis, keep_dims };
    let noop = Reduce { kind: ReduceKind::Sum, keep_dims: true, noop_with_empty_axes: true };
    let constant = |value| Operator::ConstantOfShape { value };
    let response = |size, alpha, beta, bias| Operator::LocalResponseNormalization { alpha, beta, bias, size };
    vec![
        ("MatMul", Operator::MatMul),
        ("MatMul_batches", Operator::MatMul),
        ("MatMul_weights", Operator::MatMul),
        ("MatMul_vector_left", Operator::MatMul),
        ("MatMul_vector_right", Operator::MatMul),
        ("MatMul_vectors", Operator::MatMul),
        ("Gemm", Operator::Gemm(gemm)),
        ("Gemm_scalar_bias", Operator::Gemm(Gemm::default())),
        ("BatchNormalization", Operator::BatchNormalization { epsilon: 1e-3 }),
        ("BatchNormalization_flat", Operator::BatchNormalization { epsilon: 1e-5 }),
        ("InstanceNormalization", Operator::InstanceNormalization { epsilon: 1e-3 }),
        ("BatchNormalization_in_training", Operator::BatchNormalizationInTraining { epsilon: 1e-3, momentum: 0.7 }),
        ("Einsum", einsum("bij,bjk->bki")),
        ("Einsum_one", einsum("abc->ca")),
        ("Einsum_outer", einsum("i,d->id")),
        ("Einsum_three", einsum("ab,bc,cd->ad")),
        ("Einsum_number", einsum("ij,ij->")),
        ("LayerNormalization", Operator::LayerNormalization { axis: -1, epsilon: 1e-5 }),
        ("LayerNormalization_axes", Operator::LayerNormalization { axis: 1, epsilon: 1e-2 }),
        ("LRN", response(3, 0.5, 0.6, 1.5)),
        ("LRN_odd", response(5, 1e-4, 0.75, 1.0)),
        ("Softmax", Operator::Softmax { axis: 1 }),
        ("LogSoftmax", Operator::LogSoftmax { axis: -1 }),
        ("ReduceSum", reduce(ReduceKind::Sum, false)),
        ("ReduceMean", reduce(ReduceKind::Mean, true)),
        ("ReduceMax", reduce(ReduceKind::Max, false)),
        ("ReduceMin", reduce(ReduceKind::Min, false)),
        ("ReduceProd", reduce(ReduceKind::Prod, true)),
        ("ReduceL1", reduce(ReduceKind::L1, false)),
        ("ReduceL2", reduce(ReduceKind::L2, false)),
        ("ReduceSumSquare", reduce(ReduceKind::SumSquare, false)),
        ("ReduceLogSumExp", reduce(ReduceKind::LogSumExp, false)),
        ("ReduceLogSum", reduce(ReduceKind::LogSum, false)),
        ("ReduceSum_all", reduce(ReduceKind::Sum, false)),
        ("ReduceSum_noop", Operator::Reduce(noop)),
        ("ReduceProd_integers", reduce(ReduceKind::Prod, false)),
        ("ArgMax", arg(true, 1, false)),
        ("ArgMin", arg(false, -2, true)),
        ("Flatten", Operator::Flatten { axis: 2 }),
        ("Flatten_all", Operator::Flatten { axis: 0 }),
        ("Reshape", Operator::Reshape { allow_zero: false }),
        ("Reshape_scalar", Operator::Reshape { allow_zero: false }),
        ("Transpose", Operator::Transpose { permutation: Some(vec![1, 2, 0]) }),
        ("Transpose_reverse", Operator::Transpose { permutation: None }),
        ("Squeeze", Operator::Squeeze),
        ("Squeeze_all", Operator::Squeeze),
        ("Unsqueeze", Operator::Unsqueeze),
        ("Concat", Operator::Concat { axis: -1 }),
        ("Concat_integers", Operator::Concat { axis: 0 }),
        ("Split", Operator::Split { axis: 0 }),
        ("Split_equal", Operator::Split { axis: 1 }),
        ("Slice", Operator::Slice),
        ("Slice_backwards", Operator::Slice),
        ("Slice_integers", Operator::Slice),
        ("Pad", Operator::Pad(PadMode::Constant)),
        ("Pad_negative", Operator::Pad(PadMode::Constant)),
        ("Pad_reflect", Operator::Pad(PadMode::Reflect)),
        ("Pad_edge", Operator::Pad(PadMode::Edge)),
        ("Pad_wrap", Operator::Pad(PadMode::Wrap)),
        ("Gather", Operator::Gather { axis: 1 }),
        ("Gather_scalar", Operator::Gather { axis: 0 }),
        ("Expand", Operator::Expand),
        ("Tile", Operator::Tile),
        ("Shape", Operator::Shape { start: 0, end: None }),
        ("Shape_part", Operator::Shape { start: -2, end: Some(2) }),
        ("ConstantOfShape", constant(Tensor::from_f32(&[1], vec![1.5]))),
        ("ConstantOfShape_integers", constant(Tensor::from_i64(&[1], vec![7]))),
        ("Range", Operator::Range),
        ("Range_floats", Operator::Range),
        ("Cast", Operator::Cast { to: DataType::I64 }),
        ("Cast_bool", Operator::Cast { to: DataType::Bool }),
        ("Cast_float", Operator::Cast { to: DataType::F32 }),
        ("Cast_uint8", Operator::Cast { to: DataType::U8 }),
        ("Identity", Operator::Identity),
    ]
}

fn recurrent() -> Vec<(&'static str, Operator)> {
    let gru = |linear_before_reset| Cell::Gru { linear_before_reset };
    let lstm = Cell::Lstm { input_forget: false };
    let layer = |cell: Cell, reverse| {
        let activations = cell.activations().to_vec();
        Operator::Recurrent(Recurrent { cell, hidden: 5, reverse, batch_first: false, activations, clip: None })
    };
    vec![
        ("RNN", layer(Cell::Rnn, false)),
        ("RNN_all", layer(Cell::Rnn, false)),
        ("RNN_reverse", layer(Cell::Rnn, true)),
        ("GRU", layer(gru(false), false)),
        ("GRU_all", layer(gru(true), false)),
        ("GRU_reverse", layer(gru(false), true)),
        ("LSTM", layer(lstm, false)),
        ("LSTM_all", layer(lstm, false)),
        ("LSTM_reverse", layer(lstm, true)),
    ]
}

fn moves() -> Vec<(&'static str, Operator)> {
    let resize = |mode, coordinates| {
        Operator::Resize(Resize {
            mode,
            coordinates,
            axes: None,
            antialias: false,
            exclude_outside: false,
            extrapolation: 0.0,
            aspect: Aspect::Stretch,
        })
    };
    let reduction = ScatterReduction::None;
    vec![
        ("GroupNormalization", Operator::GroupNormalization { groups: 2, per_group: true, epsilon: 1e-3 }),
        ("Resize_nearest", resize(ResizeMode::Nearest(Nearest::Floor), Coordinates::Asymmetric)),
        ("Resize_linear", resize(ResizeMode::Linear, Coordinates::HalfPixel)),
        ("Resize_corners", resize(ResizeMode::Linear, Coordinates::AlignCorners)),
        ("DepthToSpace", Operator::DepthToSpace { block: 2, order: DepthOrder::ChannelsFirst }),
        ("SpaceToDepth", Operator::SpaceToDepth { block: 2 }),
        ("Trilu", Operator::Trilu { upper: false }),
        ("CumSum", Operator::CumSum { exclusive: true, reverse: true }),
        ("TopK", Operator::TopK { axis: 1, largest: true }),
        ("GatherElements", Operator::GatherElements { axis: 0 }),
        ("GatherND", Operator::GatherNd { batch_dims: 0 }),
        ("ScatterElements", Operator::ScatterElements { axis: 0, reduction }),
        ("ScatterND", Operator::ScatterNd { reduction }),
    ]
}

/// A tensor of a golden file.
pub fn tensor(value: &Value) -> Tensor {
    let shape: Vec<usize> =
        value["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap() as usize).collect();
    let data = value["data"].as_array().unwrap();
    match value["type"].as_str().unwrap() {
        "float32" => {
            let numbers = data.iter().map(|number| number.as_f64().unwrap() as f32);
            Tensor::from_f32(&shape, numbers.collect())
        }
        "int32" => {
            let numbers = data.iter().map(|number| number.as_i64().unwrap() as i32);
            let bytes: Vec<u8> = numbers.flat_map(i32::to_le_bytes).collect();
            Tensor::new(DataType::I32, shape, bytes.into()).unwrap()
        }
        "int64" => Tensor::from_i64(&shape, data.iter().map(|number| number.as_i64().unwrap()).collect()),
        other => {
            let data_type = if other == "bool" { DataType::Bool } else { DataType::U8 };
            let bytes: Vec<u8> = data.iter().map(|number| number.as_u64().unwrap() as u8).collect();
            Tensor::new(data_type, shape, bytes.into()).unwrap()
        }
    }
}

/// A graph of one operator and its inputs by name (`i0`, `i1`, ..) as a golden case gives them.
pub fn network(operator: Operator, case: &Value) -> Result<(Graph, BTreeMap<String, Tensor>), String> {
    let mut editor = GraphEditor::new("case");
    let mut inputs = Vec::new();
    let mut given = BTreeMap::new();
    for (index, input) in case["inputs"].as_array().unwrap().iter().enumerate() {
        if input.is_null() {
            inputs.push(None);
            continue;
        }
        let name = format!("i{index}");
        let value = editor.add_value(&name, None);
        editor.add_input(value);
        inputs.push(Some(value));
        given.insert(name, tensor(input));
    }
    let expected = case["outputs"].as_array().unwrap();
    let outputs: Vec<_> = (0..expected.len()).map(|index| editor.add_value(format!("o{index}"), None)).collect();
    outputs.iter().for_each(|&output| editor.add_output(output));
    editor.add_node("node", operator, inputs, outputs.into_iter().map(Some).collect());
    Ok((editor.finish().map_err(|error| error.to_string())?, given))
}
