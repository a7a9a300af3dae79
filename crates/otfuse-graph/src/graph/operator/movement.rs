//! Operators that move elements and compute nothing.

use super::Operator;

impl Operator {
    /// Whether the output has the elements of input 0 in the same row-major order: under another name, shape or type.
    pub fn is_view(&self) -> bool {
        matches!(
            self,
            Self::Identity
                | Self::Cast { .. }
                | Self::Reshape { .. }
                | Self::Flatten { .. }
                | Self::Squeeze
                | Self::Unsqueeze
        )
    }

    /// Whether the output has each element of input 0 once: views and permutations of axes.
    pub fn keeps_elements(&self) -> bool {
        self.is_view() || matches!(self, Self::Transpose { .. })
    }

    /// Whether each element of each output is an element of input 0: what keeps elements, selects or repeats them.
    pub fn copies_elements(&self) -> bool {
        self.keeps_elements()
            || matches!(self, Self::Slice | Self::Split { .. } | Self::Gather { .. } | Self::Expand | Self::Tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_contains_the_one_before() {
        let all = Operator::one_of_each();
        let names = |is: fn(&Operator) -> bool| -> Vec<&str> {
            all.iter().filter(|operator| is(operator)).map(Operator::name).collect()
        };
        let (views, kept, copied) =
            (names(Operator::is_view), names(Operator::keeps_elements), names(Operator::copies_elements));
        assert!(views.iter().all(|name| kept.contains(name)) && kept.iter().all(|name| copied.contains(name)));
        assert!(!views.contains(&"Transpose") && kept.contains(&"Transpose"));
        assert!(!kept.contains(&"Slice") && copied.contains(&"Slice") && !copied.contains(&"Pad"));
    }
}
