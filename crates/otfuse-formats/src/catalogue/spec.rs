//! Names of networks: family, depth, options and widths.

use std::fmt;
use std::str::FromStr;

use super::Family;

/// Convolutions per stage of the configurations of VGG (Simonyan and Zisserman, 2015, table 1: A, B, D and E).
const VGG: [(usize, [usize; 5]); 4] =
    [(11, [1, 1, 2, 2, 2]), (13, [2, 2, 2, 2, 2]), (16, [2, 2, 3, 3, 3]), (19, [2, 2, 4, 4, 4])];

/// Blocks per stage of the residual networks for ImageNet (He et al., 2016, table 1).
const RESNET: [(usize, [usize; 4], bool); 3] =
    [(18, [2, 2, 2, 2], false), (34, [3, 4, 6, 3], false), (50, [3, 4, 6, 3], true)];

/// A network of the catalogue by its name, depth, options and widths: `mlp:400-200-100`, `vgg11-nobias`, `resnet20:0.5`.
///
/// | text | network |
/// |---|---|
/// | `mlp:W-W-..` | linear layers `fc1`, `fc2`, .. with hidden layers of these widths, ReLU between them |
/// | `vgg11`, `13`, `16`, `19` | torchvision's `features.N`; behind them one layer `classifier`, or torchvision's three on 224 x 224 |
/// | `resnet20`, `32`, `44`, `56`, `110` | He et al.'s for CIFAR: widths 16, 32, 64, shortcuts without weights, `linear` |
/// | `resnet18`, `34`, `50` | torchvision's, with a stem of 3 x 3 and no pool on images below 224 x 224 |
/// | `lenet` | LeNet-5 as PyTorch's tutorial has it: `conv1`, `conv2`, `fc1` to `fc3` |
/// | `cnn` | an `nn.Sequential`: twice convolution, ReLU and pool, then two linear layers |
///
/// Options follow the name or the widths after a hyphen: `bn` and `nobn` (batch normalisation behind every convolution
/// or hidden layer; residual networks have it unless told otherwise), `bias` and `nobias` (VGG without biases is that
/// of the fusion paper). A number behind the colon multiplies all widths.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    pub(super) shape: Shape,
    pub(super) bias: bool,
    pub(super) norm: bool,
    /// Factor of all widths.
    pub(super) width: f64,
    text: String,
}

/// What is built, with its depth.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Widths of the hidden layers.
    Mlp(Vec<usize>),
    /// Convolutions per stage.
    Vgg([usize; 5]),
    /// Blocks per stage of the networks with shortcuts without weights.
    ResNetCifar(usize),
    /// Blocks per stage, and whether they are bottlenecks.
    ResNet([usize; 4], bool),
    LeNet,
    Cnn,
}

/// A network's name is not understood, or the network does not take such inputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The text names no network.
    #[error("the architecture '{found}' is not understood: expected {expected}")]
    Text {
        /// What was given.
        found: String,
        /// What there is.
        expected: String,
    },
    /// The network is not made for such inputs or classes.
    #[error("the architecture '{spec}' expects {expected}, found {found}")]
    Input {
        /// The network.
        spec: String,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
}

impl SpecError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Text { .. } => {
                "for example mlp:400-200-100, vgg11, vgg11-nobias:0.5, resnet20, lenet, gpt2:2,64,4".into()
            }
            Self::Input { .. } => "choose another architecture, or give the shape of the samples".into(),
        }
    }
}

impl NetworkSpec {
    /// The family of the catalogue that reads the network back: `--arch FAMILY`.
    pub fn family(&self) -> Family {
        match self.shape {
            Shape::Mlp(_) => Family::Mlp,
            Shape::Vgg(_) => Family::Vgg,
            Shape::ResNetCifar(_) | Shape::ResNet(..) => Family::ResNet,
            Shape::LeNet => Family::LeNet,
            Shape::Cnn => Family::Sequential,
        }
    }

    /// The network with all widths (of hidden layers and channels, not of classes) multiplied once more.
    ///
    /// # Errors
    /// A factor that is not positive.
    pub fn scaled(mut self, width: f64) -> Result<Self, SpecError> {
        if !(width > 0.0 && width.is_finite()) {
            let expected = "a positive number to multiply widths with".into();
            return Err(SpecError::Text { found: width.to_string(), expected });
        }
        self.width *= width;
        Ok(self)
    }

    /// Whether the network that the tensors make, which takes samples of shape `taken`, is made for those of `input_shape`.
    pub(crate) fn check_input(&self, taken: &[usize], input_shape: &[usize]) -> Result<(), SpecError> {
        let fits = match self.shape {
            Shape::Mlp(_) => taken.iter().product::<usize>() == input_shape.iter().product::<usize>(),
            _ => taken == input_shape,
        };
        if fits { Ok(()) } else { Err(self.input_error(format!("samples of shape {taken:?}"), input_shape)) }
    }

    pub(super) fn input_error(&self, expected: String, input_shape: &[usize]) -> SpecError {
        SpecError::Input { spec: self.text.clone(), expected, found: format!("samples of shape {input_shape:?}") }
    }
}

impl FromStr for NetworkSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = |expected: String| SpecError::Text { found: text.to_owned(), expected };
        let lower = text.trim().to_ascii_lowercase().replace('_', "-");
        let (head, tail) = lower.split_once(':').unwrap_or((&lower, ""));
        let mut words = head.split('-');
        let name = words.next().unwrap_or_default();
        let behind: Vec<&str> = tail.split('-').filter(|part| !part.is_empty()).collect();
        let (numbers, options): (Vec<&str>, Vec<&str>) =
            behind.into_iter().partition(|part| part.starts_with(|c: char| c.is_ascii_digit() || c == '.'));
        let mut shape = shape(name).ok_or_else(|| error(known()))?;
        let mut width = 1.0;
        if let Shape::Mlp(widths) = &mut shape {
            let parsed = numbers.iter().map(|part| part.parse().ok().filter(|&width: &usize| width > 0));
            *widths = parsed.collect::<Option<_>>().ok_or_else(|| error("positive widths: mlp:400-200-100".into()))?;
            if widths.is_empty() {
                return Err(error("the widths of the hidden layers: mlp:400-200-100".into()));
            }
        } else if let [factor] = numbers.as_slice() {
            let factor = factor.parse().ok().filter(|&factor: &f64| factor > 0.0 && factor.is_finite());
            width = factor.ok_or_else(|| error(format!("a number to multiply widths with: {name}:0.5")))?;
        } else if !numbers.is_empty() {
            return Err(error(format!("one number behind the colon, to multiply widths with: {name}:0.5")));
        }
        let norm = matches!(shape, Shape::ResNet(..) | Shape::ResNetCifar(_));
        let bias = !norm;
        let mut spec = Self { shape, bias, norm, width, text: text.trim().to_owned() };
        for option in words.chain(options) {
            match option {
                "bias" => spec.bias = true,
                "nobias" => spec.bias = false,
                "bn" => spec.norm = true,
                "nobn" => spec.norm = false,
                other => return Err(error(format!("bias, nobias, bn or nobn in place of '{other}'"))),
            }
        }
        if spec.norm && matches!(spec.shape, Shape::LeNet) {
            return Err(error("lenet without bn".into()));
        }
        Ok(spec)
    }
}

/// The network of a name, with the usual depths.
fn shape(name: &str) -> Option<Shape> {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let depth: Option<usize> = name[base.len()..].parse().ok();
    match (base, depth) {
        ("mlp", None) => Some(Shape::Mlp(Vec::new())),
        ("lenet", None | Some(5)) => Some(Shape::LeNet),
        ("cnn", None) => Some(Shape::Cnn),
        ("vgg", Some(depth)) => VGG.iter().find(|(known, _)| *known == depth).map(|(_, stages)| Shape::Vgg(*stages)),
        ("resnet", Some(depth)) => {
            let deep = RESNET.iter().find(|(known, ..)| *known == depth);
            let deep = deep.map(|&(_, blocks, bottleneck)| Shape::ResNet(blocks, bottleneck));
            // He et al.: 6 n + 2 layers.
            let flat = [20, 32, 44, 56, 110].contains(&depth).then(|| Shape::ResNetCifar((depth - 2) / 6));
            deep.or(flat)
        }
        _ => None,
    }
}

fn known() -> String {
    "mlp:W-W-.., vgg11 (13, 16, 19), resnet20 (32, 44, 56, 110), resnet18 (34, 50), lenet, cnn; FAMILY:LAYERS,WIDTH,HEADS with \
     FAMILY bert, roberta, distilbert, gpt2, llama, mistral, qwen2, qwen3 or vit; or a folder with config.json"
        .into()
}

impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
