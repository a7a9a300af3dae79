//! How the library works for Python: on a thread of its own, while the caller's thread tells of progress and listens for
//! signals.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use otfuse::{Context, Error, Event, Result};
use pyo3::prelude::*;

use crate::error::exception;

/// How often signals are looked for.
const PATIENCE: Duration = Duration::from_millis(20);

/// Repairs walk graphs in depth.
const STACK: usize = 16 << 20;

/// The last panic of any thread, with its place in the code.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Panics become errors, or are caught by the library; they are not printed.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.to_string().replace('\n', " "));
    }));
}

/// The process that loaded the module.
pub fn process() -> u32 {
    static LOADED: OnceLock<u32> = OnceLock::new();
    *LOADED.get_or_init(process::id)
}

/// How work is done: attributes of an object of Python's.
#[derive(FromPyObject)]
pub struct Run {
    /// Called with kind, stage, name, steps done, all steps and text of each event.
    tell: Option<Py<PyAny>>,
    device: Option<String>,
    threads: Option<usize>,
    memory: Option<u64>,
}

/// What the caller's thread is told.
enum Told {
    Event { kind: &'static str, stage: u64, name: String, done: usize, total: usize, text: String },
    Done,
}

impl Told {
    fn of(event: &Event<'_>) -> Option<Self> {
        let told = |kind, stage, name: &str, done, total, text: &str| {
            Some(Self::Event { kind, stage, name: name.into(), done, total, text: text.into() })
        };
        match *event {
            Event::Started { stage, name, total } => told("started", stage, name, 0, total, ""),
            Event::Advanced { stage, done, total, remark } => told("advanced", stage, "", done, total, remark),
            Event::Finished { stage } => told("finished", stage, "", 0, 0, ""),
            Event::Warning(text) => told("warning", 0, "", 0, 0, text),
            Event::Note(text) => told("note", 0, "", 0, 0, text),
            _ => None,
        }
    }
}

impl Run {
    fn context(&self, told: Sender<Told>) -> Result<Context> {
        let mut context = Context::new();
        if let Some(device) = &self.device {
            context = context.device(device)?;
        }
        if let Some(bytes) = self.memory {
            context = context.memory(bytes);
        }
        // The threads that all work shares are not there in a process that was forked.
        let is_forked = process::id() != process();
        let own = || thread::available_parallelism().map_or(1, usize::from);
        if let Some(count) = self.threads.or_else(|| is_forked.then(own)) {
            context = context.threads(count)?;
        }
        if self.tell.is_some() {
            context = context.observer(move |event: &Event<'_>| {
                // Nobody listens any more where this fails.
                let _ = Told::of(event).map(|event| told.send(event));
            });
        }
        Ok(context)
    }

    fn tell(&self, py: Python<'_>, told: Told) -> PyResult<()> {
        let (Some(tell), Told::Event { kind, stage, name, done, total, text }) = (&self.tell, told) else {
            return Ok(());
        };
        tell.call1(py, (kind, stage, name, done, total, text)).map(|_| ())
    }

    /// Tells of progress until the work is done; the first exception, of the observer or for a signal, cancels it.
    fn attend(&self, py: Python<'_>, events: &Mutex<Receiver<Told>>, cancel: impl Fn()) -> PyResult<()> {
        let mut stopped = Ok(());
        loop {
            let next = py.detach(|| events.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE));
            let told = match next {
                Ok(Told::Done) | Err(RecvTimeoutError::Disconnected) => return stopped,
                Ok(told) if stopped.is_ok() => self.tell(py, told),
                _ => Ok(()),
            };
            if stopped.is_ok() {
                stopped = told.and_then(|()| py.check_signals());
                if stopped.is_err() {
                    cancel();
                }
            }
        }
    }

    /// Does work without holding the interpreter.
    pub fn work<T: Send>(&self, py: Python<'_>, body: impl FnOnce(&Context) -> Result<T> + Send) -> PyResult<T> {
        let (told, events) = channel();
        let context = self.context(told.clone()).map_err(|error| exception(py, &error))?;
        let cancellation = context.cancellation();
        let body = move || context.install(|| body(&context));
        let found = self.aside(py, (told, events), body, || cancellation.cancel())?;
        found.map_err(|error| exception(py, &error))
    }

    /// Does work on a thread of its own, which the caller's waits for, listening.
    fn aside<T: Send>(
        &self,
        py: Python<'_>,
        (told, events): (Sender<Told>, Receiver<Told>),
        body: impl FnOnce() -> T + Send,
        cancel: impl Fn(),
    ) -> PyResult<T> {
        let events = Mutex::new(events);
        let (stopped, found) = thread::scope(|scope| {
            let work = move || {
                let found = catch_unwind(AssertUnwindSafe(body));
                // The caller waits for it.
                let _ = told.send(Told::Done);
                found.map_err(|panic| fault(&*panic))
            };
            let named = thread::Builder::new().name("otfuse".into()).stack_size(STACK);
            let running = named.spawn_scoped(scope, work).map_err(|error| exception(py, &Error::run(error)))?;
            let stopped = self.attend(py, &events, cancel);
            let found = py.detach(|| running.join()).unwrap_or_else(|panic| Err(fault(&*panic)));
            PyResult::Ok((stopped, found))
        })?;
        stopped?;
        found.map_err(|error| exception(py, &error))
    }
}

/// Does arithmetic on the caller's thread, without holding the interpreter: what is too short to tell of.
pub fn plainly<T: Send>(py: Python<'_>, body: impl FnOnce() -> T + Send) -> PyResult<T> {
    let found = py.detach(|| {
        catch_unwind(AssertUnwindSafe(|| {
            if process::id() == process() {
                return Ok(body());
            }
            let threads = thread::available_parallelism().map_or(1, usize::from);
            Ok(Context::new().threads(threads)?.install(body))
        }))
    });
    found.unwrap_or_else(|panic| Err(fault(&*panic))).map_err(|error| exception(py, &error))
}

/// Does arithmetic that may take long on a thread of its own, while the caller's thread listens for signals; the first exception
/// gives the sign to end.
pub fn patiently<T: Send>(py: Python<'_>, sign: &AtomicBool, body: impl FnOnce() -> T + Send) -> PyResult<T> {
    let run = Run { tell: None, device: None, threads: None, memory: None };
    let (told, events) = channel();
    let context = run.context(told.clone()).map_err(|error| exception(py, &error))?;
    run.aside(py, (told, events), move || context.install(body), || sign.store(true, Ordering::Relaxed))
}

/// The error of a panic.
fn fault(panic: &(dyn Any + Send)) -> Error {
    let last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = last.or(words).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::run(format!("internal fault: {text}")).hint("this is a fault of otfuse; please report it with the call")
}

/// A page of HTML, and its charts by name as SVG.
pub type Page = (String, Vec<(String, String)>);

/// A result as a page.
pub fn page(py: Python<'_>, result: &impl otfuse::pages::Paged) -> PyResult<Page> {
    let page = otfuse::pages::page(result).map_err(|error| exception(py, &error))?;
    let figures = page.figures().into_iter().map(|figure| (figure.name.clone(), figure.svg.clone())).collect();
    Ok((page.to_html(), figures))
}

/// A result as JSON.
pub fn json(py: Python<'_>, result: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(result).map_err(|error| exception(py, &Error::run(format!("cannot write JSON: {error}"))))
}
