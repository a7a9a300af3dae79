//! The tensors of a transformer before training, made as its settings ask for them.

use otfuse_graph::Tensor;

use crate::StateDict;

/// The most parameters of a network that is made here.
const MOST_PARAMETERS: usize = 1 << 31;

/// What the elements of a new tensor are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// One number.
    Constant(f32),
    /// Normally distributed around 0.
    Normal {
        /// The standard deviation.
        deviation: f64,
        /// A row of zeros: the vector of padding.
        zero_row: Option<usize>,
    },
}

/// Tensors that are made as they are asked for.
pub(crate) struct Draft {
    pub tensors: StateDict,
    pub fills: Vec<(String, Fill)>,
    pub classes: usize,
    parameters: usize,
}

impl Draft {
    pub fn of_classes(classes: usize) -> Self {
        Self { tensors: StateDict::new(), fills: Vec::new(), classes, parameters: 0 }
    }

    /// A tensor of zeros of that name, made if there is none yet; `None` if the network becomes too large.
    pub fn make(&mut self, name: &str, shape: &[usize], fill: Fill) -> Option<Tensor> {
        if let Some(known) = self.tensors.get(name) {
            return Some(known.clone());
        }
        let elements = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
        self.parameters = self.parameters.checked_add(elements).filter(|&sum| sum <= MOST_PARAMETERS)?;
        let tensor = Tensor::from_f32(shape, vec![0.0; elements]);
        self.tensors.insert(name, tensor.clone()).ok()?;
        self.fills.push((name.to_owned(), fill));
        Some(tensor)
    }
}
