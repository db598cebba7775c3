//! Signals: one handler for the process, any number of loops in any number of threads.
//!
//! The handler may only touch atomics and `write`. So every loop that watches a signal has a post: an
//! alarm and a count of deliveries for each signal. The handler walks the list of posts. Posts are
//! never freed and their descriptors never closed, only reused, because the handler may be in the
//! middle of one at any time: there are never more of them than there were loops at once.
//!
//! The first watcher of a signal installs the handler, the last one puts back what was there before.

use std::{
    io, mem,
    os::fd::{AsFd, BorrowedFd},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
    },
};

use super::{sys::cvt, wake::WakeFd};

/// Linux has 64, the BSDs up to 126. Those above cannot be watched.
const SIGNALS: usize = 128;

/// Where the handler leaves word for one loop.
#[derive(Debug)]
struct Post {
    alarm: WakeFd,
    taken: AtomicBool,
    wanted: [AtomicBool; SIGNALS],
    delivered: [AtomicU32; SIGNALS],
    next: *const Post,
}

// SAFETY: `next` is written before the post is published and never again, and posts live for ever;
// everything else in it is made for threads.
unsafe impl Sync for Post {}

/// The first of all posts; each knows the next.
static POSTS: AtomicPtr<Post> = AtomicPtr::new(ptr::null_mut());

/// How many loops watch each signal, and what it did before.
static WATCHED: Mutex<[Option<Watched>; SIGNALS]> = Mutex::new([const { None }; SIGNALS]);

struct Watched {
    loops: usize,
    before: libc::sigaction,
}

// SAFETY: a `sigaction` is plain data that says what a signal does in the whole process.
unsafe impl Send for Watched {}

fn watched() -> MutexGuard<'static, [Option<Watched>; SIGNALS]> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn posts() -> impl Iterator<Item = &'static Post> {
    let mut at = POSTS.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: posts are leaked boxes: valid for ever once they are in the list.
        let post = unsafe { at.as_ref() }?;
        at = post.next;
        Some(post)
    })
}

/// Runs on any thread, at any time. Atomics and `write` only.
extern "C" fn handler(signum: libc::c_int) {
    // `write` may change errno under the code that was interrupted.
    let saved = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    for post in posts() {
        if post.wanted[signum as usize].load(Ordering::Acquire) {
            post.delivered[signum as usize].fetch_add(1, Ordering::AcqRel);
            post.alarm.wake();
        }
    }
    set_errno(saved);
}

fn set_errno(value: i32) {
    #[cfg(target_os = "linux")]
    let place = libc::__errno_location;
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    let place = libc::__error;
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    let place = libc::__errno;
    // SAFETY: the place is this thread's own errno.
    unsafe { *place() = value };
}

/// The signals that one loop watches.
#[derive(Debug)]
pub(crate) struct Signals {
    post: &'static Post,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        let take = |post: &&'static Post| !post.taken.swap(true, Ordering::AcqRel);
        if let Some(post) = posts().find(take) {
            return Ok(Signals { post });
        }
        let post = Box::leak(Box::new(Post {
            alarm: WakeFd::new()?,
            taken: AtomicBool::new(true),
            wanted: [const { AtomicBool::new(false) }; SIGNALS],
            delivered: [const { AtomicU32::new(0) }; SIGNALS],
            next: ptr::null(),
        }));
        let mut head = POSTS.load(Ordering::Acquire);
        loop {
            post.next = head;
            match POSTS.compare_exchange(head, post, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Signals { post }),
                Err(now) => head = now,
            }
        }
    }

    /// Wants to hear of a signal. Idempotent.
    pub(crate) fn watch(&self, signum: i32) -> io::Result<()> {
        let place = place_of(signum)?;
        let mut watched = watched();
        if self.post.wanted[place].load(Ordering::Acquire) {
            return Ok(());
        }
        match &mut watched[place] {
            Some(watched) => watched.loops += 1,
            empty => {
                // SAFETY: all zeroes is a valid `sigaction`, filled in below.
                let mut action: libc::sigaction = unsafe { mem::zeroed() };
                action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
                // On the alternative stack if there is one: some threads have little of their own.
                action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
                // SAFETY: all zeroes is a valid `sigaction`, which the call fills in.
                let mut before: libc::sigaction = unsafe { mem::zeroed() };
                // SAFETY: the mask is ours to write; the handler does only what a handler may do.
                unsafe {
                    libc::sigfillset(&mut action.sa_mask);
                    cvt(libc::sigaction(signum, &action, &mut before))?;
                }
                *empty = Some(Watched { loops: 1, before });
            }
        }
        self.post.delivered[place].store(0, Ordering::Release);
        self.post.wanted[place].store(true, Ordering::Release);
        Ok(())
    }

    /// Wants to hear no more of a signal. Idempotent.
    pub(crate) fn forget(&self, signum: i32) {
        let Ok(place) = place_of(signum) else { return };
        let mut watched = watched();
        if !self.post.wanted[place].swap(false, Ordering::AcqRel) {
            return;
        }
        let Some(entry) = &mut watched[place] else { return };
        entry.loops -= 1;
        if entry.loops == 0 {
            // SAFETY: what is put back is what `sigaction` gave.
            unsafe { libc::sigaction(signum, &entry.before, ptr::null_mut()) };
            watched[place] = None;
        }
    }

    /// Takes the signals that came since the last time, by number.
    pub(crate) fn take(&self, mut delivered: impl FnMut(i32)) {
        self.post.alarm.drain();
        for (place, count) in self.post.delivered.iter().enumerate() {
            // Most are zero, and a load is cheaper than a swap.
            if count.load(Ordering::Acquire) > 0 && count.swap(0, Ordering::AcqRel) > 0 {
                delivered(place as i32);
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.post.alarm.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for signum in 1..SIGNALS as i32 {
            self.forget(signum);
        }
        self.post.alarm.drain();
        self.post.taken.store(false, Ordering::Release);
    }
}

fn place_of(signum: i32) -> io::Result<usize> {
    match usize::try_from(signum) {
        Ok(place) if (1..SIGNALS).contains(&place) => Ok(place),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The numbers that programs watch most.
pub(crate) mod numbers {
    pub(crate) use libc::{
        SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
    };
}
