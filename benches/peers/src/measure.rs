//! What a process can measure of itself and of another.

use std::time::{Duration, Instant};

/// Wall-clock time and CPU time since it was started.
pub struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start() -> Meter {
        Meter {
            wall: Instant::now(),
            cpu: cpu_of(libc::CLOCK_PROCESS_CPUTIME_ID).expect("a process has a clock"),
        }
    }

    pub fn cpu_ns(&self) -> u128 {
        (cpu_of(libc::CLOCK_PROCESS_CPUTIME_ID).expect("a process has a clock") - self.cpu).as_nanos()
    }

    pub fn wall_ns(&self) -> u128 {
        self.wall.elapsed().as_nanos()
    }

    pub fn wall(&self) -> Duration {
        self.wall.elapsed()
    }

    /// Prints `ops`, `wall_ns` and `cpu_ns`.
    pub fn report(&self, ops: u64) {
        let (cpu, wall) = (self.cpu_ns(), self.wall_ns());
        result("ops", ops);
        result("wall_ns", wall);
        result("cpu_ns", cpu);
    }
}

/// Prints `result KEY VALUE`.
pub fn result(key: &str, value: impl std::fmt::Display) {
    crate::announce(&format!("result {key} {value}"));
}

/// Returns the CPU time of another process in nanoseconds. Its `/proc` file has hundredths of a second only.
pub fn cpu_of_process(pid: u32) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: the pointer is to a valid value.
    (unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } == 0).then_some(())?;
    cpu_of(clock)
}

fn cpu_of(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid value.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
    (!failed).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns the bytes in use on the heap, with the allocator's overhead for each block. All peers use the C
/// library's allocator.
pub fn heap_bytes() -> u64 {
    // SAFETY: it has no preconditions.
    let heap = unsafe { libc::mallinfo2() };
    (heap.uordblks + heap.hblkhd) as u64
}

pub fn pin_to(core: usize) {
    // SAFETY: a set of zeros is valid, and the pointer is to a set of the size passed.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        if libc::sched_setaffinity(0, size_of_val(&set), &set) != 0 {
            eprintln!("cannot run on core {core} alone: {}", std::io::Error::last_os_error());
            std::process::exit(1);
        }
    }
}

/// Raises the limit of open descriptors as far as this process may.
pub fn raise_descriptor_limit() {
    // SAFETY: the pointers are to a valid limit.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

pub(crate) fn die_with_parent() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
