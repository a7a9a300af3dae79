//! Batches, prepared while the last one is trained on.

use std::cell::OnceCell;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use otfuse_graph::{Tensor, ValueId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::augment::Augmentation;
use super::mix::{Mixed, Mixing};
use crate::batch::SampleLayout;
use crate::dataset::Dataset;
use crate::random;

/// Batches that wait to be used.
const AHEAD: usize = 2;

/// One batch.
pub(super) struct Batch {
    /// What the network's inputs are.
    pub(super) inputs: Vec<(ValueId, Tensor)>,
    pub(super) labels: Vec<u32>,
    /// The labels of what the samples were mixed with, and the share of their own.
    pub(super) mixed: Option<(Vec<u32>, f64)>,
    /// Numbers to be met, where targets are numbers.
    pub(super) numbers: Vec<f32>,
    /// How many samples there are; each has as many labels.
    pub(super) count: usize,
}

/// What batches are made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) layout: &'a SampleLayout,
    /// The samples that are trained on.
    pub(super) indices: &'a [usize],
    pub(super) size: usize,
    /// Batches of an epoch.
    pub(super) batches: usize,
    pub(super) augmentation: Augmentation,
    pub(super) mixing: Mixing,
    pub(super) seed: u64,
}

impl Source<'_> {
    /// Starts a thread that prepares the batches of an epoch from number `first` on; it ends with the receiver.
    pub(super) fn start<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        epoch: usize,
        first: usize,
    ) -> Receiver<Batch>
    where
        Self: 'scope,
    {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || {
            let mut order = self.indices.to_vec();
            shuffle(&mut order, self.seed, epoch);
            for (number, indices) in order.chunks(self.size).take(self.batches).enumerate().skip(first) {
                if sender.send(self.batch(indices, epoch, number)).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn batch(&self, indices: &[usize], epoch: usize, number: usize) -> Batch {
        let shape = self.dataset.sample_shape();
        let size: usize = shape.iter().product();
        let mixed: OnceCell<Mixed> = OnceCell::new();
        let inputs = self.layout.take(self.dataset, indices, &|samples| {
            if size > 0 {
                for (&index, sample) in indices.iter().zip(samples.chunks_exact_mut(size)) {
                    self.augmentation.apply(shape, self.seed, epoch, index, sample);
                }
                if let Some(found) = self.mixing.apply(shape, (self.seed, epoch, number), samples) {
                    mixed.get_or_init(|| found);
                }
            }
        });
        let labels = |indices: &[usize]| -> Vec<u32> {
            indices.iter().flat_map(|&index| self.dataset.labels_of(index)).copied().collect()
        };
        let mixed = mixed.into_inner().map(|Mixed { partners, share }| {
            let others: Vec<usize> = partners.into_iter().map(|at| indices[at]).collect();
            (labels(&others), share)
        });
        let numbers = indices.iter().flat_map(|&index| self.dataset.numbers_of(index)).copied().collect();
        Batch { inputs, labels: labels(indices), mixed, numbers, count: indices.len() }
    }
}

/// Shuffles, the same for a seed and an epoch whatever came before.
fn shuffle(order: &mut [usize], seed: u64, epoch: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_word_pos((epoch as u128) << 40);
    random::shuffle(order, &mut random);
}

/// Divides the samples into those to train on and those held out, `share` of them, both ascending.
pub(super) fn hold_out(samples: usize, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held = (share * samples as f64).round() as usize;
    let mut order: Vec<usize> = (0..samples).collect();
    // An epoch that never comes.
    shuffle(&mut order, seed, 1 << 20);
    let (mut held, mut kept) = (order[..held].to_vec(), order[held..].to_vec());
    held.sort_unstable();
    kept.sort_unstable();
    (kept, held)
}
