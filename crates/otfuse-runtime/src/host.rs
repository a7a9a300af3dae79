//! Where networks are computed, and within which limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::budget::{Allowance, Size, Taken};
use crate::{Device, RuntimeError};

/// Where networks are computed, and within which limits; on the CPU unless told otherwise.
///
/// What nobody limits is limited by what is there: a run may hold, execute and compute as much as networks of that many
/// constants on inputs of that size do, with room, and no more memory than the machine has. A file of a few bytes cannot ask for
/// more.
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
    /// What several runs have taken together, where they belong together.
    together: Option<Arc<Taken>>,
    /// What the run that is under way may take, and has taken; none outside of a run.
    run: Option<(Allowance, Arc<Taken>)>,
}

#[derive(Debug)]
struct Steps {
    used: AtomicU64,
    allowed: u64,
}

impl Host {
    /// A device with the limits that follow from the size of what is run.
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

    /// Everything that runs with this host and its clones from now on is limited together, where nobody has said how: it may
    /// take a few times as much as one run.
    #[must_use]
    pub fn together(mut self) -> Self {
        self.limits.together = Some(Arc::new(Taken::default()));
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
    /// The limits of one run of a network of this size on inputs of so many elements; those of the run that it is a part of,
    /// where it is a body of control flow.
    pub(crate) fn running(&self, size: Size, inputs: u64) -> Self {
        let mut limits = self.clone();
        if limits.run.is_none() {
            let allowance = size.allowance(inputs, self.together.is_some());
            let allowance = Allowance { bytes: self.memory.unwrap_or(allowance.bytes), ..allowance };
            limits.run = Some((allowance, self.together.clone().unwrap_or_default()));
        }
        limits
    }

    /// To be asked before a node is executed.
    pub(crate) fn begin(&self, node: &str) -> Result<(), RuntimeError> {
        if self.cancellation.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        let exceeded = |allowed: u64| move |asked: u64| Self::exceeded(node, "steps", asked, allowed);
        match (&self.steps, &self.run) {
            (Some(steps), _) => {
                let next = |used: u64| (used < steps.allowed).then_some(used + 1);
                let update = steps.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
                update.map(|_| ()).map_err(|used| exceeded(steps.allowed)(used.saturating_add(1)))
            }
            (None, Some((allowance, taken))) => taken.step(allowance.steps).map_err(exceeded(allowance.steps)),
            (None, None) => Ok(()),
        }
    }

    /// The one question before memory is taken and time spent: how many bytes will be alive, and how many operations it takes.
    /// Operations are not limited where steps are.
    pub(crate) fn ask(&self, bytes: u64, operations: u64) -> Result<(), Exceeded> {
        let Some((allowance, taken)) = &self.run else { return Ok(()) };
        if bytes > allowance.bytes {
            return Err(Exceeded { resource: "bytes", asked: bytes, allowed: allowance.bytes });
        }
        if self.steps.is_some() {
            return Ok(());
        }
        let allowed = allowance.operations;
        taken.operate(operations, allowed).map_err(|asked| Exceeded { resource: "operations", asked, allowed })
    }

    fn exceeded(node: &str, resource: &'static str, asked: u64, allowed: u64) -> RuntimeError {
        RuntimeError::Budget { node: node.to_owned(), resource, asked, allowed }
    }
}

/// More than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) resource: &'static str,
    pub(crate) asked: u64,
    pub(crate) allowed: u64,
}

impl Exceeded {
    /// With the node that asked.
    pub(crate) fn at(self, node: &str) -> RuntimeError {
        Limits::exceeded(node, self.resource, self.asked, self.allowed)
    }
}
