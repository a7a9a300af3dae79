//! Where networks are computed, and within which limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Device, RuntimeError};

/// Where networks are computed, and within which limits; without any on the CPU unless told otherwise.
///
/// Cheap to clone. Clones share their budget of steps and can be cancelled together, so that one host given to several
/// computations limits all of them.
///
/// ```
/// use otfuse_runtime::{Executable, Host, RuntimeError, mlp};
/// let host = Host::default().with_steps(1_000_000).with_memory(1 << 30);
/// let executable = Executable::new(&mlp(&[4, 2], 0)?, &host)?;
/// host.cancellation().cancel();
/// assert_eq!(executable.run(&[], &[]), Err(RuntimeError::Cancelled));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Host {
    device: Device,
    limits: Limits,
}

/// Ends what runs on the hosts that it belongs to, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

/// The part of a host that the interpreter asks at each node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    cancellation: Cancellation,
    steps: Option<Arc<Steps>>,
    memory: Option<u64>,
}

#[derive(Debug)]
struct Steps {
    used: AtomicU64,
    allowed: u64,
}

impl Host {
    /// A device without limits.
    pub fn new(device: Device) -> Self {
        Self { device, limits: Limits::default() }
    }

    /// Computes on another device, within the same limits.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// At most so many nodes are executed from now on, those of bodies of loops and branches included, over everything
    /// that runs with this host and its clones; the next one is [`RuntimeError::Budget`]. A pass over a network or body that
    /// executes no node counts as one. The count begins anew.
    #[must_use]
    pub fn with_steps(mut self, allowed: u64) -> Self {
        self.limits.steps = Some(Arc::new(Steps { used: AtomicU64::new(0), allowed }));
        self
    }

    /// At most so many bytes of values may be alive behind a node of one running program; more are
    /// [`RuntimeError::Budget`]. Inputs and inner values count as they are held, 4 bytes for a float and 8 for an integer or
    /// truth value, also where two of them share their memory. Constants do not, nor what an operator takes while it
    /// computes. The body of a loop or branch is a program of its own; what a loop collects of its steps counts outside.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Is cancelled by this handle instead of its own, so that several hosts are cancelled together.
    #[must_use]
    pub fn with_cancellation(mut self, cancellation: Cancellation) -> Self {
        self.limits.cancellation = cancellation;
        self
    }

    /// What cancels everything that runs with this host and its clones.
    pub fn cancellation(&self) -> Cancellation {
        self.limits.cancellation.clone()
    }

    /// Where networks are computed.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl From<Device> for Host {
    fn from(device: Device) -> Self {
        Self::new(device)
    }
}

impl Cancellation {
    /// A handle of no host yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends what runs before its next node, and everything that is begun later, with [`RuntimeError::Cancelled`]. It cannot
    /// be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Limits {
    /// To be asked before a node is executed.
    pub(crate) fn begin(&self, node: &str) -> Result<(), RuntimeError> {
        if self.cancellation.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        let Some(steps) = &self.steps else { return Ok(()) };
        // Never beyond what is allowed, so that the count cannot run over.
        let next = |used: u64| (used < steps.allowed).then_some(used + 1);
        match steps.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(used) => Err(Self::exceeded(node, "steps", used.saturating_add(1), steps.allowed)),
        }
    }

    /// Whether bytes have to be counted.
    pub(crate) fn counts_bytes(&self) -> bool {
        self.memory.is_some()
    }

    /// To be asked with the bytes that are alive behind a node.
    pub(crate) fn hold(&self, node: &str, bytes: u64) -> Result<(), RuntimeError> {
        self.beyond(bytes).map_or(Ok(()), |allowed| Err(Self::exceeded(node, "bytes", bytes, allowed)))
    }

    /// How many bytes are allowed, if these are more.
    pub(crate) fn beyond(&self, bytes: u64) -> Option<u64> {
        self.memory.filter(|&allowed| bytes > allowed)
    }

    fn exceeded(node: &str, resource: &'static str, asked: u64, allowed: u64) -> RuntimeError {
        RuntimeError::Budget { node: node.to_owned(), resource, asked, allowed }
    }
}
