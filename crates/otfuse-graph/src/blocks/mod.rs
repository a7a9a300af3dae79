//! Networks as chains of blocks.
//!
//! A value that every path from the inputs to the outputs passes is a *waist*; what lies between two of them is a
//! segment: an activation, a convolution, or a residual branch together with its sum. Segments that occur again and
//! again are the blocks of a network, whatever its family ([`blocks_of`]).

mod repeat;
mod segment;

pub use repeat::{Block, blocks_of};
use segment::{Segment, segments};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv, Graph, GraphBuilder, Tensor, Window};

    /// A stem, residual blocks, and a last layer.
    fn residual(blocks: usize) -> Graph {
        let mut b = GraphBuilder::new("residual");
        let image = b.input("x", &[None, Some(3), Some(8), Some(8)]);
        let weight = |b: &mut GraphBuilder, name: String, inputs: usize| {
            b.initializer(&name, Tensor::from_f32(&[4, inputs, 3, 3], vec![0.1; 36 * inputs]))
        };
        let stem = weight(&mut b, "stem.weight".into(), 3);
        let window = || Conv { groups: 1, window: Window::uniform(2, 1, 1) };
        let mut x = b.conv(image, stem, None, window());
        x = b.relu(x);
        for at in 0..blocks {
            let (first, second) =
                (weight(&mut b, format!("{at}.a.weight"), 4), weight(&mut b, format!("{at}.b.weight"), 4));
            let inner = b.conv(x, first, None, window());
            let inner = b.relu(inner);
            let inner = b.conv(inner, second, None, window());
            let sum = b.add(inner, x);
            x = b.relu(sum);
        }
        let x = b.global_average_pool(x);
        let x = b.flatten(x);
        let last = b.initializer("last.weight", Tensor::from_f32(&[2, 4], vec![0.5; 8]));
        let y = b.linear(x, last, None);
        b.output(y);
        b.finish().expect("sound")
    }

    #[test]
    fn branches_are_one_segment() {
        let found = segments(&residual(2));
        let lengths: Vec<usize> = found.iter().map(|segment| segment.nodes.len()).collect();
        assert_eq!(lengths, [1, 1, 4, 1, 4, 1, 1, 1, 1]);
        assert_eq!(found[2].signature, found[4].signature);
        assert!(found[2].is_branched && !found[3].is_branched && found[2].has_layer && !found[3].has_layer);
    }

    #[test]
    fn what_one_network_repeats_is_a_block_of_another() {
        let (deep, shallow) = (residual(4), residual(1));
        let found = blocks_of(&[&deep, &shallow]).expect("sound");
        let names = |blocks: &[Block]| blocks.iter().map(|block| block.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&found[0]), ["stem", "0", "1", "2", "3", "GlobalAveragePool Flatten", "last"]);
        assert_eq!(names(&found[1]), ["stem", "0", "GlobalAveragePool Flatten", "last"]);
        assert_eq!(found[0][2].signature, found[1][1].signature);
        assert!(found[0][2].keeps_shape && !found[0][5].keeps_shape);
    }
}
