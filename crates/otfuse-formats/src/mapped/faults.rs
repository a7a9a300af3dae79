//! Files that become shorter while they are mapped.
//!
//! A read behind the new end is a signal, `SIGBUS`, which ends the process. Here it is caught: the rest of the map becomes zeros,
//! and that it happened is remembered, so that nothing made of it is written. Faults elsewhere go to whoever was asked before.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Maps that are known to the handler, which may not wait for a lock.
const MOST_MAPS: usize = 4096;

struct Slot {
    start: AtomicUsize,
    length: AtomicUsize,
}

static SLOTS: [Slot; MOST_MAPS] =
    [const { Slot { start: AtomicUsize::new(0), length: AtomicUsize::new(0) } }; MOST_MAPS];
static SHORTENED: AtomicBool = AtomicBool::new(false);
static PAGE: AtomicUsize = AtomicUsize::new(4096);
/// What was done about the signal before.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Whether any file was shortened while it was mapped and read.
pub(super) fn any() -> bool {
    SHORTENED.load(Ordering::SeqCst)
}

/// Makes a map known; `None` if there are too many.
pub(super) fn watch(start: usize, length: usize) -> Option<usize> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(install);
    // A slot that is being filled has a length of 0 until its start is in place.
    let is_taken = |slot: &Slot| slot.start.compare_exchange(0, start, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    let found = SLOTS.iter().position(is_taken)?;
    SLOTS[found].length.store(length, Ordering::SeqCst);
    Some(found)
}

/// Forgets a map, before it is taken down.
pub(super) fn forget(slot: usize) {
    SLOTS[slot].length.store(0, Ordering::SeqCst);
    SLOTS[slot].start.store(0, Ordering::SeqCst);
}

fn install() {
    // SAFETY: `sysconf` takes a name and gives a number. The action is zeroed, which is a valid value of the plain C structure, and
    // its fields are set before it is used; the handler has the form that SA_SIGINFO asks for. SA_ONSTACK as for the handler of
    // Rust's own runtime, which tells of stacks that overflow and is called where a fault is none of ours.
    unsafe {
        if let Ok(page) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
            PAGE.store(page, Ordering::SeqCst);
        }
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
        if libc::sigaction(libc::SIGBUS, &action, &mut before) == 0 {
            BEFORE.store(Box::into_raw(Box::new(before)), Ordering::SeqCst);
        }
    }
}

extern "C" fn on_fault(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system calls the handler with a valid `info`, whose address is set for this signal. Nothing here allocates or waits.
    // What is replaced are whole pages of a map that is known, at its end; they held nothing, or the read would not have failed, and
    // the map is read-only, so that nobody's writes are lost.
    unsafe {
        let address = (*info).si_addr() as usize;
        let page = PAGE.load(Ordering::SeqCst);
        let inside = |slot: &&Slot| {
            let start = slot.start.load(Ordering::SeqCst);
            start != 0 && address.wrapping_sub(start) < slot.length.load(Ordering::SeqCst)
        };
        if let Some(slot) = SLOTS.iter().find(inside) {
            let end = slot.start.load(Ordering::SeqCst) + slot.length.load(Ordering::SeqCst);
            let from = address & !(page - 1);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let length = end.next_multiple_of(page) - from;
            let made = libc::mmap(from as *mut libc::c_void, length, libc::PROT_READ, flags, -1, 0);
            if made != libc::MAP_FAILED {
                SHORTENED.store(true, Ordering::SeqCst);
                return;
            }
        }
        // None of ours: the read fails again, for whoever was asked before.
        let before = BEFORE.load(Ordering::SeqCst);
        if before.is_null() {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
        } else {
            libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut());
        }
    }
}
