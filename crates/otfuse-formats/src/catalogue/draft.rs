//! The state dict that PyTorch's module of an architecture has, before training.

use otfuse_graph::Tensor;

use super::spec::{NetworkSpec, Shape, SpecError};
use crate::{StateDict, memory_limit};

/// Channels of the stages of VGG, and the hidden layers that torchvision puts behind them on ImageNet.
const VGG_CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];
const VGG_HIDDEN: usize = 4096;
/// Channels of the stages of residual networks.
const RESNET_CHANNELS: [usize; 4] = [64, 128, 256, 512];
const RESNET_CIFAR_CHANNELS: [usize; 3] = [16, 32, 64];
/// A bottleneck gives so many times the channels of its inner convolutions.
const EXPANSION: usize = 4;
/// From this side on networks are those for ImageNet.
const LARGE: usize = 224;

impl NetworkSpec {
    /// The state dict of PyTorch's module for samples of a shape (channels, height, width, or any for `mlp`), in the order
    /// and of the shapes that `load_state_dict` expects. Variances are 1, all else is 0.
    ///
    /// # Errors
    /// [`SpecError::Input`] if the network does not take such samples.
    pub fn state_dict(&self, input_shape: &[usize], classes: usize) -> Result<StateDict, SpecError> {
        Draft::new(self).state_dict(input_shape, classes)
    }
}

/// Modules with weights, one after the other.
struct Draft<'a> {
    spec: &'a NetworkSpec,
    tensors: Vec<(String, Tensor)>,
    /// Bytes that may still be made; `None` once there were too few.
    left: Option<usize>,
}

impl<'a> Draft<'a> {
    fn new(spec: &'a NetworkSpec) -> Self {
        Self { spec, tensors: Vec::new(), left: usize::try_from(memory_limit()).ok().or(Some(usize::MAX)) }
    }

    fn state_dict(mut self, input: &[usize], classes: usize) -> Result<StateDict, SpecError> {
        if input.is_empty() || input.contains(&0) || classes == 0 {
            return Err(self.spec.input_error("samples with elements, and at least one class".into(), input));
        }
        match &self.spec.shape {
            Shape::Mlp(widths) => self.mlp(input.iter().product(), widths, classes),
            convolutional => {
                let &[channels, side, width] = input else {
                    return Err(self.spec.input_error("images of shape channels, height, width".into(), input));
                };
                if side != width {
                    return Err(self.spec.input_error("square images".into(), input));
                }
                match convolutional {
                    Shape::Vgg(stages) => self.vgg(stages, (channels, side), classes),
                    Shape::ResNetCifar(blocks) => self.resnet_cifar(*blocks, channels, classes),
                    Shape::ResNet(blocks, bottleneck) => {
                        self.resnet(blocks, *bottleneck, (channels, side), classes);
                    }
                    Shape::LeNet => {
                        // Two convolutions of 5 x 5 without padding, each with a pool.
                        let left = side.saturating_sub(4) / 2;
                        self.lenet(channels, left.saturating_sub(4) / 2, classes);
                    }
                    _ => self.cnn(channels, side / 4, classes),
                }
            }
        }
        if self.left.is_none() {
            return Err(self.spec.input_error("widths whose weights fit in memory".into(), input));
        }
        let mut dict = StateDict::new();
        for (name, tensor) in self.tensors {
            if tensor.is_empty() && !tensor.shape().is_empty() {
                return Err(self.spec.input_error("larger images".into(), input));
            }
            // Every module has a name of its own.
            let _ = dict.insert(name, tensor);
        }
        Ok(dict)
    }

    /// A number of neurons or channels under the width factor, at least 1.
    fn width(&self, base: usize) -> usize {
        ((base as f64 * self.spec.width).round() as usize).max(1)
    }

    fn constant(&mut self, name: String, shape: &[usize], value: f32) {
        let count = shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
        let left = count.and_then(|count| self.left?.checked_sub(count.checked_mul(size_of::<f32>())?));
        self.left = left;
        if let (Some(count), Some(_)) = (count, left) {
            self.tensors.push((name, Tensor::from_f32(shape, vec![value; count])));
        }
    }

    fn layer(&mut self, path: &str, shape: &[usize], bias: bool) {
        self.constant(format!("{path}.weight"), shape, 0.0);
        if bias {
            self.constant(format!("{path}.bias"), &shape[..1], 0.0);
        }
    }

    fn linear(&mut self, path: &str, inputs: usize, outputs: usize) {
        self.layer(path, &[outputs, inputs], self.spec.bias);
    }

    fn conv(&mut self, path: &str, inputs: usize, outputs: usize, kernel: usize) {
        self.layer(path, &[outputs, inputs, kernel, kernel], self.spec.bias);
    }

    /// A batch normalisation, if the network has them.
    fn norm(&mut self, path: &str, channels: usize) {
        if !self.spec.norm {
            return;
        }
        for (part, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            self.constant(format!("{path}.{part}"), &[channels], value);
        }
        self.tensors.push((format!("{path}.num_batches_tracked"), Tensor::from_i64(&[], vec![0])));
    }

    fn mlp(&mut self, inputs: usize, widths: &[usize], classes: usize) {
        let mut before = inputs;
        for (index, &width) in widths.iter().enumerate() {
            let width = self.width(width);
            self.linear(&format!("fc{}", index + 1), before, width);
            self.norm(&format!("bn{}", index + 1), width);
            before = width;
        }
        self.linear(&format!("fc{}", widths.len() + 1), before, classes);
    }

    fn vgg(&mut self, stages: &[usize; 5], (channels, side): (usize, usize), classes: usize) {
        let (mut before, mut index) = (channels, 0);
        for (&convs, width) in stages.iter().zip(VGG_CHANNELS.map(|base| self.width(base))) {
            for _ in 0..convs {
                self.conv(&format!("features.{index}"), before, width, 3);
                self.norm(&format!("features.{}", index + 1), width);
                index += if self.spec.norm { 3 } else { 2 };
                before = width;
            }
            // The pool.
            index += 1;
        }
        let area = (side >> stages.len()).pow(2);
        if side < LARGE {
            return self.linear("classifier", before * area, classes);
        }
        let hidden = self.width(VGG_HIDDEN);
        self.linear("classifier.0", before * area, hidden);
        self.linear("classifier.3", hidden, hidden);
        self.linear("classifier.6", hidden, classes);
    }

    fn resnet_cifar(&mut self, blocks: usize, channels: usize, classes: usize) {
        let widths = RESNET_CIFAR_CHANNELS.map(|base| self.width(base));
        let mut before = widths[0];
        self.conv("conv1", channels, before, 3);
        self.norm("bn1", before);
        for (stage, width) in widths.into_iter().enumerate() {
            for block in 0..blocks {
                self.block(&format!("layer{}.{block}", stage + 1), before, width, false);
                before = width;
            }
        }
        self.layer("linear", &[classes, before], true);
    }

    fn resnet(&mut self, blocks: &[usize; 4], bottleneck: bool, (channels, side): (usize, usize), classes: usize) {
        let widths = RESNET_CHANNELS.map(|base| self.width(base));
        let mut before = widths[0];
        self.conv("conv1", channels, before, if side < LARGE { 3 } else { 7 });
        self.norm("bn1", before);
        for (stage, (&count, width)) in blocks.iter().zip(widths).enumerate() {
            for block in 0..count {
                let path = format!("layer{}.{block}", stage + 1);
                let outputs = self.block(&path, before, width, bottleneck);
                if outputs != before || (stage > 0 && block == 0) {
                    self.conv(&format!("{path}.downsample.0"), before, outputs, 1);
                    self.norm(&format!("{path}.downsample.1"), outputs);
                }
                before = outputs;
            }
        }
        self.layer("fc", &[classes, before], true);
    }

    /// The convolutions of a residual block; returns the channels that come out.
    fn block(&mut self, path: &str, inputs: usize, width: usize, bottleneck: bool) -> usize {
        let outputs = if bottleneck { EXPANSION * width } else { width };
        let shapes: &[(usize, usize, usize)] = match bottleneck {
            true => &[(inputs, width, 1), (width, width, 3), (width, outputs, 1)],
            false => &[(inputs, width, 3), (width, width, 3)],
        };
        for (index, &(from, to, kernel)) in shapes.iter().enumerate() {
            self.conv(&format!("{path}.conv{}", index + 1), from, to, kernel);
            self.norm(&format!("{path}.bn{}", index + 1), to);
        }
        outputs
    }

    fn lenet(&mut self, channels: usize, left: usize, classes: usize) {
        let [six, sixteen, hidden, last] = [6, 16, 120, 84].map(|base| self.width(base));
        self.conv("conv1", channels, six, 5);
        self.conv("conv2", six, sixteen, 5);
        self.linear("fc1", sixteen * left * left, hidden);
        self.linear("fc2", hidden, last);
        self.linear("fc3", last, classes);
    }

    fn cnn(&mut self, channels: usize, left: usize, classes: usize) {
        let [first, second, hidden] = [32, 64, 128].map(|base| self.width(base));
        // Convolution, normalisation, ReLU, pool; twice. Then flatten, linear, normalisation, ReLU, linear.
        let step = if self.spec.norm { 4 } else { 3 };
        self.conv("0", channels, first, 3);
        self.norm("1", first);
        self.conv(&step.to_string(), first, second, 3);
        self.norm(&(step + 1).to_string(), second);
        let head = 2 * step + 1;
        self.linear(&head.to_string(), second * left * left, hidden);
        self.norm(&(head + 1).to_string(), hidden);
        let last = head + if self.spec.norm { 3 } else { 2 };
        self.linear(&last.to_string(), hidden, classes);
    }
}
