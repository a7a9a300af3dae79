//! What the machine has.

use std::fs;
use std::sync::OnceLock;

/// The bytes that one piece of work may take on this machine: half of its memory, of what the process's container is limited to,
/// or of the address space that the process is (`ulimit -v`), whichever is least.
pub fn memory_limit() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let limits = [memory(), group(), address_space()];
        limits.into_iter().flatten().min().map_or(u64::MAX, |bytes| bytes / 2)
    })
}

/// The machine's memory, where it can be told.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the container that the process runs in is limited to.
fn group() -> Option<u64> {
    let paths = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    paths.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// What `ulimit -v` says.
fn address_space() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}
