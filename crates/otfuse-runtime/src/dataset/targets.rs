//! What networks are to say of samples.

/// What networks are to say of samples, if anything is known of it.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Targets {
    /// Nothing is known: samples to run networks on, to fuse and to align them.
    #[default]
    None,
    /// A class for each sample, for each of its tokens, or for each of its places.
    Classes {
        /// The classes, sample by sample; [`Targets::VOID`] where a place has none.
        labels: Vec<u32>,
        /// The number of classes.
        classes: usize,
        /// The shape of one sample's labels: empty for a class a sample.
        shape: Vec<usize>,
    },
    /// Numbers to be met.
    Numbers {
        /// The numbers, sample by sample.
        values: Vec<f32>,
        /// The shape of one sample's numbers.
        shape: Vec<usize>,
    },
}

impl Targets {
    /// The label of a place that has no class and does not count.
    pub const VOID: u32 = u32::MAX;

    /// How many labels or numbers a sample has.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Classes { shape, .. } | Self::Numbers { shape, .. } => shape.iter().product(),
        }
    }

    pub(super) fn chosen(&self, indices: &[usize]) -> Self {
        let size = self.size();
        match self {
            Self::None => Self::None,
            Self::Classes { labels, classes, shape } => Self::Classes {
                labels: super::column::chosen(labels, size, indices),
                classes: *classes,
                shape: shape.clone(),
            },
            Self::Numbers { values, shape } => {
                Self::Numbers { values: super::column::chosen(values, size, indices), shape: shape.clone() }
            }
        }
    }

    pub(super) fn truncate(&mut self, count: usize) {
        let length = count.saturating_mul(self.size());
        match self {
            Self::None => {}
            Self::Classes { labels, .. } => labels.truncate(length),
            Self::Numbers { values, .. } => values.truncate(length),
        }
    }
}
