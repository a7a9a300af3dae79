//! Networks for operators that work element by element.

use otfuse::graph::{Binary, DataType, Graph, Operator, Unary, ValueId};

use crate::workshop::Workshop;

pub fn network(operator: &Operator) -> Option<Graph> {
    let mut w = Workshop::new();
    Some(match operator {
        Operator::Unary(unary) => of_one(w, *unary),
        Operator::Binary(binary) => {
            let operands = operands(&mut w, *binary);
            let y = w.node(operator, &operands);
            w.dense_cast(y, 6)
        }
        Operator::Variadic(_) => {
            let inputs = [w.hidden(), w.hidden(), w.hidden()];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::PRelu => {
            let inputs = [w.hidden(), w.weight(&[6])];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::Clip => {
            let inputs = [w.hidden(), w.scalar(-0.5), w.scalar(0.5)];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::Where => {
            let inputs = [w.truths(), w.hidden(), w.hidden()];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::Identity | Operator::Softmax { .. } | Operator::LogSoftmax { .. } => {
            let x = w.hidden();
            let y = w.node(operator, &[x]);
            w.dense(y, 6)
        }
        Operator::Cast { .. } => {
            let x = w.numbers(DataType::I32);
            w.dense_cast(x, 6)
        }
        Operator::Hardmax { .. } => {
            // Of equal elements the first one wins: there have to be some.
            let x = w.hidden();
            let x = w.unary(Unary::Sign, x);
            let y = w.node(operator, &[x]);
            w.dense(y, 6)
        }
        Operator::QuantizeLinear { .. } => {
            let inputs = [w.hidden(), w.between(&[6], 0.01, 0.05)];
            let y = w.node(operator, &inputs);
            w.dense_cast(y, 6)
        }
        Operator::DequantizeLinear { .. } => {
            let inputs = [w.numbers(DataType::I8), w.between(&[6], 0.1, 0.5)];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        _ => return None,
    })
}

/// The operand lies where the function is defined and not constant.
fn of_one(mut w: Workshop, unary: Unary) -> Graph {
    let x = match unary {
        Unary::Not => w.truths(),
        Unary::BitwiseNot => w.numbers(DataType::I32),
        _ => w.hidden(),
    };
    let x = match unary {
        // In (0, 1).
        Unary::Log | Unary::Sqrt | Unary::Reciprocal | Unary::Asin | Unary::Acos | Unary::Atanh => {
            w.unary(Unary::Sigmoid, x)
        }
        Unary::Acosh => {
            let (x, one) = (w.unary(Unary::Exp, x), w.scalar(1.0));
            w.node(&Operator::Binary(Binary::Add), &[x, one])
        }
        // No number, or minus infinity, for every other neuron.
        Unary::IsNan => w.unary(Unary::Sqrt, x),
        Unary::IsInf { .. } => {
            let x = w.unary(Unary::Relu, x);
            w.unary(Unary::Log, x)
        }
        _ => x,
    };
    let y = w.unary(unary, x);
    w.dense_cast(y, 6)
}

fn operands(w: &mut Workshop, binary: Binary) -> [ValueId; 2] {
    match binary {
        Binary::And | Binary::Or | Binary::Xor => [w.truths(), w.truths()],
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => {
            [w.numbers(DataType::I32), w.numbers(DataType::I32)]
        }
        Binary::BitShift { .. } => {
            let counts = w.truths();
            [w.numbers(DataType::I32), w.cast(counts, DataType::I32)]
        }
        // Neither division by zero nor roots of negative numbers.
        Binary::Div | Binary::Mod { .. } => {
            let (x, y) = (w.hidden(), w.hidden());
            [x, w.unary(Unary::Sigmoid, y)]
        }
        Binary::Pow => {
            let (x, y) = (w.hidden(), w.hidden());
            [w.unary(Unary::Sigmoid, x), y]
        }
        Binary::Equal => {
            let (x, y) = (w.hidden(), w.hidden());
            [w.unary(Unary::Sign, x), w.unary(Unary::Sign, y)]
        }
        _ => [w.hidden(), w.hidden()],
    }
}
