//! The neuron groups of networks, against what their architectures say.

use otfuse::graph::NeuronGroups;

use crate::collection::{collection, network};

/// What is known of a network without running the analysis.
pub struct Expected {
    /// The file.
    pub name: &'static str,
    /// The sizes of the free groups, each with how often it occurs, ascending.
    pub sizes: &'static [(usize, usize)],
    /// The number of pinned groups.
    pub pinned: usize,
}

const fn expected(name: &'static str, sizes: &'static [(usize, usize)], pinned: usize) -> Expected {
    Expected { name, sizes, pinned }
}

/// Pinned are, unless a comment says otherwise, the network's input and output as far as weights carry them.
pub const NETWORKS: &[Expected] = &[
    // Two stages' streams, one inner layer in each of two blocks; depthwise convolutions belong to the streams.
    expected("exported/rand_convnext_tiny.onnx", &[(16, 1), (32, 1), (64, 2), (128, 2)], 2),
    // The stem and the two transitions; a bottleneck (16) and what it adds (8) for each of nine layers.
    expected("exported/rand_densenet_k8.onnx", &[(8, 9), (16, 10), (20, 1), (22, 1)], 2),
    // The residual stream; heads, the widths of queries and keys and of values, and the inner layer of two blocks. Queries,
    // keys and values are one weight whose axis is 3 x heads x width. Pinned are token ids and positions.
    expected("exported/rand_gpt_tiny.onnx", &[(4, 2), (8, 4), (32, 1), (128, 2)], 3),
    expected("exported/rand_transformer_encoder_prenorm.onnx", &[(4, 2), (8, 4), (32, 1), (64, 2)], 2),
    // As before. Pinned too are the rows and columns of patches, which the position embedding counts.
    expected("exported/rand_vit_tiny.onnx", &[(2, 2), (16, 4), (32, 1), (64, 2)], 4),
    // Both directions of two layers, each with hidden units of its own.
    expected("exported/rand_lstm_bidi.onnx", &[(16, 4)], 2),
    // Pinned are the rows and columns of the image, which are flattened.
    expected("exported/rand_mlp_bias.onnx", &[(20, 1), (40, 1)], 3),
    // One group inside each of 16 blocks, to which the depthwise convolution belongs, with the first separable block's in
    // the stem's; six streams (two stages of 24 are one, as the second has no stride), the two layers of no stream behind
    // the stem and before the last, and the last.
    expected(
        "exported/rand_mnasnet_w025.onnx",
        &[(8, 3), (16, 1), (24, 5), (48, 3), (80, 1), (96, 1), (144, 5), (288, 4), (1280, 1)],
        2,
    ),
    // Inner: 48 in the blocks 2 to 7, 96 in 8 to 11, 144 in 12 to 14, 240 in 15 to 17; streams of 8 (the stem's includes
    // block 1), 8, 8, 16, 24, 40; block 17's outputs; the last layer.
    expected(
        "exported/rand_mobilenet_v2_w025.onnx",
        &[(8, 3), (16, 1), (24, 1), (40, 1), (48, 6), (80, 1), (96, 4), (144, 3), (240, 3), (1280, 1)],
        2,
    ),
    // Four streams, the first being the stem's, and one inner layer in each of eight blocks.
    expected("exported/rand_resnet18_w8.onnx", &[(8, 3), (16, 3), (32, 3), (64, 3)], 2),
    // The stem, four streams and two inner layers in each of 3, 4, 6, 3 blocks.
    expected("exported/rand_resnet50_w8.onnx", &[(8, 7), (16, 8), (32, 13), (64, 7), (128, 1), (256, 1)], 2),
    // The stem (24), a group inside the second branch of each of 4 + 8 + 4 blocks (12, 24, 48) and the last layer. Each
    // shuffle makes a stage's two halves one group of positions x 2, and each block cuts its first part in halves: 12 =
    // 6 + (3 + 3), 24 = 12 + (6 + (3 + 3)), 48 = 24 + (12 + (6 + 6)); a half of 3 cannot be cut again and is pinned.
    expected("exported/rand_shufflenet_v2_tiny.onnx", &[(3, 2), (6, 4), (12, 6), (24, 10), (48, 4), (128, 1)], 4),
    // The stem, and in each of eight modules the squeezing and both expanding layers.
    expected(
        "exported/rand_squeezenet1_1.onnx",
        &[(16, 2), (32, 2), (48, 2), (64, 7), (128, 4), (192, 4), (256, 4)],
        2,
    ),
    // Eight convolutions and a linear layer.
    expected("exported/rand_vgg11_w8.onnx", &[(8, 1), (16, 1), (32, 2), (64, 5)], 2),
    expected("exported/rand_vgg11bn_w8.onnx", &[(8, 1), (16, 1), (32, 2), (64, 5)], 2),
    expected("misc/lenet_dongkyunk.onnx", &[(6, 1), (16, 1), (84, 1), (120, 1)], 1),
    expected("misc/mnist_cntk.onnx", &[(8, 1), (16, 1)], 1),
    expected("misc/wonnx_opt-mnist.onnx", &[(8, 1), (16, 1)], 1),
    // Generator: 128 x 2 x 2 (the rows and columns pinned), 128, 64, 32 and one channel; discriminator: 16, 32, 64, 128.
    expected("vnncomp/cGAN_imgSz32_nCh_1.onnx", &[(16, 1), (32, 2), (64, 2), (128, 3)], 3),
    // The stem, the stream of the two blocks, their inner layers, a linear layer.
    expected("vnncomp/cifar10_resnet_2b.onnx", &[(8, 1), (16, 3), (100, 1)], 2),
    // The stem, two streams, four inner layers, a linear layer.
    expected("vnncomp/cifar10_resnet_4b.onnx", &[(16, 1), (32, 6), (100, 1)], 2),
    expected("vnncomp/cifar_deep_kw.onnx", &[(8, 4), (100, 1)], 2),
    expected("vnncomp/oval_cifar_base_kw.onnx", &[(8, 1), (16, 1), (100, 1)], 2),
    expected("vnncomp/marabou_cifar10_medium.onnx", &[(16, 1), (32, 1), (64, 1), (128, 1)], 2),
    expected("vnncomp/mnist-net_256x2.onnx", &[(256, 2)], 2),
    expected("vnncomp/mnist-net_256x4.onnx", &[(256, 4)], 2),
    expected("vnncomp/mnist-net_256x6.onnx", &[(256, 6)], 2),
    expected("vnncomp/mnist_sigmoid_6x200.onnx", &[(200, 6)], 3),
    // An image and a code in, an image out.
    expected("vnncomp/mnist_generator.onnx", &[(200, 1)], 5),
    // Two layers for each of three parts of the input, and one on them all.
    expected("vnncomp/mscn_128d.onnx", &[(128, 7)], 3),
    // Six layers on parts of the input side by side, and one on them all.
    expected("vnncomp/pensieve_small_simple.onnx", &[(128, 7)], 3),
    // The residual stream; heads, the widths of queries and keys and of values, the inner layer of three blocks.
    expected("vit/ibp_3_3_8.onnx", &[(3, 3), (16, 6), (48, 1), (96, 3)], 2),
];

#[test]
fn groups_are_those_of_the_architectures() {
    let Some(folder) = collection() else { return };
    for Expected { name, sizes, pinned } in NETWORKS {
        let groups = NeuronGroups::of(&network(&folder, name)).expect("shapes that agree");
        let mut found: Vec<usize> = groups.iter().map(|(_, group)| group.size).collect();
        found.sort_unstable();
        let expected: Vec<usize> = sizes.iter().flat_map(|&(size, count)| vec![size; count]).collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(groups.pinned().len(), *pinned, "{name}: {:?}", groups.pinned());
    }
}
