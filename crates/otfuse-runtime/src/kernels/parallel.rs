//! Work on parts, on all threads.

use rayon::iter::IndexedParallelIterator;
use rayon::iter::plumbing::{Producer, ProducerCallback};

/// Works on every part; on the calling thread where a second one would have nothing to do. To hand work to the pool and
/// wait for it takes as long as some thousand multiplications, and a step of a small network has dozens of these.
pub(super) fn for_each<I: IndexedParallelIterator>(parts: I, work: impl Fn(I::Item) + Send + Sync) {
    if parts.len() <= 1 || rayon::current_num_threads() == 1 {
        parts.with_producer(InPlace(work));
    } else {
        parts.for_each(work);
    }
}

struct InPlace<W>(W);

impl<T, W: Fn(T)> ProducerCallback<T> for InPlace<W> {
    type Output = ();

    fn callback<P: Producer<Item = T>>(self, producer: P) {
        producer.into_iter().for_each(self.0);
    }
}
