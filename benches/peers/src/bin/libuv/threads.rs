//! Wakes, values and jobs: what crosses threads. After libuv's `async_pummel`, `million_async` and
//! `queue_work`. libuv has no benchmark that posts values, and no queue to post them through.

use std::{
    ffi::c_int,
    mem,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use libuv_sys2::{
    uv_async_init, uv_async_send, uv_async_t, uv_close, uv_mutex_init, uv_mutex_lock, uv_mutex_t,
    uv_mutex_unlock, uv_queue_work, uv_stop, uv_timer_init, uv_timer_start, uv_timer_t, uv_work_t,
};
use ringback_peers::{Arguments, Meter, Random, result};

use crate::base::{alloc, alloc_many, default_loop, free, must, run_loop};

/// A pointer that threads may share, for the reason that each use states.
struct Shared<T>(*mut T);

// SAFETY: each use states why.
unsafe impl<T> Send for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0)
    }
}

impl<T> Shared<T> {
    /// A method, because a closure that named the field would capture the bare pointer.
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Tells the threads to exit.
static OVER: AtomicBool = AtomicBool::new(false);

// ---- async_pummel

struct Calls {
    done: u64,
    limit: u64,
}

pub fn async_pummel(arguments: &Arguments) {
    let threads: usize = arguments.get("threads");
    let mut calls = Calls { done: 0, limit: arguments.get("count") };
    let calls = &raw mut calls;
    let wake = alloc::<uv_async_t>();
    // SAFETY: both live until the threads have exited.
    unsafe {
        must(uv_async_init(default_loop(), wake, Some(pummelled)));
        (*wake).data = calls.cast();
    }
    arguments.ready();
    let meter = Meter::start();
    let start = |wake: Shared<uv_async_t>| thread::spawn(move || pummel(wake.get()));
    let threads: Vec<_> = (0..threads).map(|_| start(Shared(wake))).collect();
    run_loop();
    OVER.store(true, Ordering::Relaxed);
    // SAFETY: only the callback writes to it.
    meter.report(unsafe { (*calls).done });
    result("sends", threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u64>());
}

fn pummel(wake: *mut uv_async_t) -> u64 {
    let mut sends = 0;
    while !OVER.load(Ordering::Relaxed) {
        // SAFETY: the handle is not closed before this thread has exited.
        unsafe { uv_async_send(wake) };
        sends += 1;
    }
    sends
}

unsafe extern "C" fn pummelled(wake: *mut uv_async_t) {
    // SAFETY: see `async_pummel`.
    unsafe {
        let calls = (*wake).data.cast::<Calls>();
        (*calls).done += 1;
        if (*calls).done == (*calls).limit {
            uv_stop((*wake).loop_);
        }
    }
}

// ---- million_async

pub fn million_async(arguments: &Arguments) {
    let handles: usize = arguments.get("handles");
    let milliseconds = (arguments.get::<f64>("seconds") * 1000.0) as u64;
    let mut calls = 0_u64;
    let calls = &raw mut calls;
    let wakes = alloc_many::<uv_async_t>(handles);
    let timer = alloc::<uv_timer_t>();
    // SAFETY: everything lives until the thread has exited.
    unsafe {
        for number in 0..handles {
            let wake = wakes.add(number);
            must(uv_async_init(default_loop(), wake, Some(woken)));
            (*wake).data = calls.cast();
        }
        arguments.ready();
        let meter = Meter::start();
        must(uv_timer_init(default_loop(), timer));
        must(uv_timer_start(timer, Some(stop), milliseconds, 0));
        let shared = Shared(wakes);
        let thread = thread::spawn(move || wake_at_random(shared.get(), handles as u64));
        run_loop();
        OVER.store(true, Ordering::Relaxed);
        meter.report(*calls);
        let _ = thread.join();
    }
}

fn wake_at_random(wakes: *mut uv_async_t, count: u64) {
    let mut random = Random::new(1);
    while !OVER.load(Ordering::Relaxed) {
        // SAFETY: the index is below the number of handles, and none is closed.
        unsafe { uv_async_send(wakes.add(random.below(count) as usize)) };
    }
}

unsafe extern "C" fn woken(wake: *mut uv_async_t) {
    // SAFETY: see `million_async`.
    unsafe { *(*wake).data.cast::<u64>() += 1 }
}

unsafe extern "C" fn stop(timer: *mut uv_timer_t) {
    // SAFETY: the loop is valid while it runs.
    unsafe { uv_stop((*timer).loop_) }
}

// ---- post

const QUEUE_MAX: usize = 100_000;

/// What users of libuv write: a queue under a mutex, and an async handle that wakes the consumer.
#[repr(C)]
struct Queue {
    wake: uv_async_t,
    mutex: uv_mutex_t,
    /// Under the mutex.
    waiting: Vec<u64>,
    /// Belongs to the loop's thread: the batch that it took, so that it does not hold the mutex meanwhile.
    taken: Vec<u64>,
    received: u64,
    sum: u64,
    count: u64,
}

pub fn post(arguments: &Arguments) {
    let threads: u64 = arguments.get("threads");
    let count: u64 = arguments.get("count");
    // SAFETY: libuv initializes what is zeroed here; the queue lives until the threads have exited.
    let queue = Box::into_raw(Box::new(Queue {
        wake: unsafe { mem::zeroed() },
        mutex: unsafe { mem::zeroed() },
        waiting: Vec::with_capacity(QUEUE_MAX),
        taken: Vec::with_capacity(QUEUE_MAX),
        received: 0,
        sum: 0,
        count,
    }));
    // SAFETY: as above.
    unsafe {
        must(uv_mutex_init(&raw mut (*queue).mutex));
        must(uv_async_init(default_loop(), &raw mut (*queue).wake, Some(take)));
    }
    arguments.ready();
    let meter = Meter::start();
    let start = |number: u64, queue: Shared<Queue>| {
        thread::spawn(move || {
            for value in (number..count).step_by(threads as usize) {
                // SAFETY: the queue lives as long as this thread runs.
                unsafe { put(queue.get(), value) }
            }
        })
    };
    let threads: Vec<_> = (0..threads).map(|number| start(number, Shared(queue))).collect();
    run_loop();
    meter.report(count);
    // SAFETY: the threads have sent their last value.
    assert_eq!(unsafe { (*queue).sum }, count * (count - 1) / 2);
    for thread in threads {
        let _ = thread.join();
    }
}

unsafe fn put(queue: *mut Queue, value: u64) {
    // SAFETY: the fields under the mutex are accessed only while it is held.
    unsafe {
        loop {
            uv_mutex_lock(&raw mut (*queue).mutex);
            let before = (*queue).waiting.len();
            if before < QUEUE_MAX {
                (*queue).waiting.push(value);
                uv_mutex_unlock(&raw mut (*queue).mutex);
                // The sender of the first value in the queue has woken the loop.
                if before == 0 {
                    must(uv_async_send(&raw mut (*queue).wake));
                }
                return;
            }
            uv_mutex_unlock(&raw mut (*queue).mutex);
            thread::yield_now();
        }
    }
}

unsafe extern "C" fn take(wake: *mut uv_async_t) {
    let queue = wake.cast::<Queue>();
    // SAFETY: as above. The other fields belong to this thread.
    unsafe {
        uv_mutex_lock(&raw mut (*queue).mutex);
        mem::swap(&mut (*queue).waiting, &mut (*queue).taken);
        uv_mutex_unlock(&raw mut (*queue).mutex);
        let taken = &mut (*queue).taken;
        (*queue).received += taken.len() as u64;
        for value in taken.drain(..) {
            (*queue).sum = (*queue).sum.wrapping_add(value);
        }
        if (*queue).received == (*queue).count {
            uv_close(wake.cast(), None);
        }
    }
}

// ---- queue_work

struct Jobs {
    begun: u64,
    done: u64,
    count: u64,
}

/// The request comes first, so that a pointer to it is a pointer to the job.
#[repr(C)]
struct Job {
    request: uv_work_t,
    value: u64,
}

pub fn queue_work(arguments: &Arguments) {
    let depth: u64 = arguments.get("depth");
    let count: u64 = arguments.get("count");
    let depth = depth.min(count);
    let mut jobs = Jobs { begun: depth, done: 0, count };
    let jobs = &raw mut jobs;
    let requests = alloc_many::<Job>(depth as usize);
    arguments.ready();
    let meter = Meter::start();
    // SAFETY: everything lives until the loop has run.
    unsafe {
        for number in 0..depth {
            let job = requests.add(number as usize);
            (*job).value = number;
            (*job).request.data = jobs.cast();
            queue(job);
        }
        run_loop();
        assert_eq!((*jobs).done, count);
        meter.report(count);
        free(requests);
    }
}

unsafe fn queue(job: *mut Job) {
    // SAFETY: the job is not queued.
    unsafe { must(uv_queue_work(default_loop(), &raw mut (*job).request, Some(work), Some(worked))) };
}

unsafe extern "C" fn work(request: *mut uv_work_t) {
    let job = request.cast::<Job>();
    // SAFETY: while a pool thread has the job, nothing else uses it.
    unsafe {
        let value = (*job).value;
        (*job).value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    }
}

unsafe extern "C" fn worked(request: *mut uv_work_t, status: c_int) {
    must(status);
    // SAFETY: the job belongs to the loop's thread again.
    unsafe {
        let jobs = (*request).data.cast::<Jobs>();
        (*jobs).done += 1;
        if (*jobs).begun < (*jobs).count {
            (*jobs).begun += 1;
            queue(request.cast());
        }
    }
}
