//! Where, under whose eyes and within which limits work is done.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use otfuse_runtime::{Cancellation, Device, Host};

use crate::{Error, Result};

/// What is told of work while it is done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins; several can be under way at once, told apart by their numbers.
    Started {
        /// Its number.
        stage: u64,
        /// What is done in it.
        name: &'a str,
        /// Its steps.
        total: usize,
    },
    /// So much of it is done.
    Advanced {
        /// Its number.
        stage: u64,
        /// Steps done.
        done: usize,
        /// All steps.
        total: usize,
        /// How the work stands, in words, where there is more to say.
        remark: &'a str,
    },
    /// It is over, whether it succeeded or not.
    Finished {
        /// Its number.
        stage: u64,
    },
    /// Something that the user should know, without being an error.
    Warning(&'a str),
    /// How something was understood or done, where that is not obvious.
    Note(&'a str),
}

/// Told of [`Event`]s, from any thread.
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Where, under whose eyes and within which limits work is done: device, threads, observer of progress, budgets,
/// cancellation. Cheap to clone; clones share budgets and cancellation.
///
/// ```
/// let context = otfuse::Context::new().threads(2)?.observer(|event: &otfuse::Event<'_>| {
///     if let otfuse::Event::Warning(text) = event {
///         eprintln!("{text}");
///     }
/// });
/// assert!(!context.cancellation().is_cancelled());
/// # Ok::<(), otfuse::Error>(())
/// ```
#[derive(Clone)]
pub struct Context {
    host: Host,
    observer: Arc<dyn Observer>,
    pool: Option<Arc<rayon::ThreadPool>>,
    memory: u64,
}

/// Numbers of stages, so that an observer of several contexts can tell them apart.
static STAGES: AtomicU64 = AtomicU64::new(0);

/// Networks of more weights are fused with little memory unless more is asked for: eight bytes a weight are a GiB.
const MEMORY: u64 = 1 << 30;

impl Default for Context {
    fn default() -> Self {
        Self { host: Host::default(), observer: Arc::new(|_: &Event<'_>| {}), pool: None, memory: MEMORY }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("host", &self.host).field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Context {
    /// The CPU, all of its threads, nobody told, no limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Computes networks on the device of a name: `cpu`, `cuda`, `cuda:N` or `wgpu`.
    ///
    /// # Errors
    /// A name that is not understood, a device that is not there or not built in.
    pub fn device(mut self, name: &str) -> Result<Self> {
        self.host = self.host.with_device(Device::open(name)?);
        Ok(self)
    }

    /// Tells an observer what happens.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Works with so many threads of its own. Results do not depend on their number.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub fn threads(mut self, count: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        self.pool = Some(Arc::new(pool.map_err(Error::run)?));
        Ok(self)
    }

    /// How many bytes sweeps and repairs without data may hold beside the networks; 1 GiB unless said otherwise. Larger
    /// networks are matched by one forward sweep and not repaired, which is said, unless that was asked for.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The most bytes of values that are alive while a network is run.
    pub fn run_memory(mut self, bytes: u64) -> Self {
        self.host = self.host.with_memory(bytes);
        self
    }

    /// How many nodes of networks may be run, over all that is done with clones of this context.
    pub fn steps(mut self, steps: u64) -> Self {
        self.host = self.host.with_steps(steps);
        self
    }

    /// A handle that cancels, from any thread, what is done with this context: it ends with an error of the kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled), and nothing is written.
    pub fn cancellation(&self) -> Cancellation {
        self.host.cancellation()
    }

    /// Where networks are run.
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory
    }

    /// Does work with the threads of this context.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// The same, with warnings and notes put into a list instead of being told.
    #[cfg(feature = "training")]
    pub(crate) fn reserved(&self, remarks: &Arc<Remarks>) -> Self {
        let (observer, remarks) = (Arc::clone(&self.observer), Arc::clone(remarks));
        self.clone().observer(move |event: &Event<'_>| match event {
            Event::Warning(text) => remarks.add(true, text),
            Event::Note(text) => remarks.add(false, text),
            other => observer.observe(other),
        })
    }

    pub(crate) fn warn(&self, message: &str) {
        self.observer.observe(&Event::Warning(message));
    }

    pub(crate) fn note(&self, message: &str) {
        self.observer.observe(&Event::Note(message));
    }

    /// Fails where the work was cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancellation().is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.cancellation().is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A stage of so many steps.
    pub(crate) fn stage(&self, name: &str, total: usize) -> Stage {
        let stage = STAGES.fetch_add(1, Ordering::Relaxed);
        self.observer.observe(&Event::Started { stage, name, total });
        Stage { stage, observer: Arc::clone(&self.observer), done: AtomicU64::new(0), total }
    }
}

/// Warnings and notes that may yet be told.
#[cfg(feature = "training")]
#[derive(Default)]
pub(crate) struct Remarks(std::sync::Mutex<Vec<(bool, String)>>);

#[cfg(feature = "training")]
impl Remarks {
    fn add(&self, is_warning: bool, text: &str) {
        let mut remarks = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        remarks.push((is_warning, text.to_owned()));
    }

    /// Tells them.
    pub(crate) fn tell(&self, context: &Context) {
        let remarks = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (is_warning, text) in remarks.iter() {
            if *is_warning { context.warn(text) } else { context.note(text) }
        }
    }
}

/// A stage under way; it is finished when dropped.
pub(crate) struct Stage {
    stage: u64,
    observer: Arc<dyn Observer>,
    done: AtomicU64,
    total: usize,
}

impl Stage {
    /// One step more.
    pub(crate) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) as usize + 1;
        self.at(done, self.total);
    }

    /// `done` of `total` steps.
    pub(crate) fn at(&self, done: usize, total: usize) {
        self.tell(done, total, "");
    }

    /// The same, with how the work stands.
    pub(crate) fn tell(&self, done: usize, total: usize, remark: &str) {
        self.observer.observe(&Event::Advanced { stage: self.stage, done, total, remark });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.observer.observe(&Event::Finished { stage: self.stage });
    }
}
