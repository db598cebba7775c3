//! Turns of the loop, and the cost to make and close each kind of handle. `loop_count` is libuv's own.

use std::ffi::c_int;

use libuv_sys2::{
    uv_async_init, uv_async_t, uv_check_init, uv_check_start, uv_check_t, uv_close, uv_handle_t,
    uv_idle_init, uv_idle_start, uv_idle_stop, uv_idle_t, uv_loop_t, uv_prepare_init, uv_prepare_start,
    uv_prepare_t, uv_stop, uv_timer_init, uv_timer_start, uv_timer_t,
};
use ringback_peers::{Arguments, Meter, missing};

use crate::base::{alloc, alloc_many, default_loop, free, must, run_loop};

struct Turns {
    done: u64,
    limit: u64,
    calls: u64,
}

pub fn loop_count(arguments: &Arguments) {
    let mut turns = Turns { done: 0, limit: arguments.get("count"), calls: 0 };
    let turns = &raw mut turns;
    let idle = alloc::<uv_idle_t>();
    // SAFETY: both live until the loop has run.
    unsafe {
        must(uv_idle_init(default_loop(), idle));
        (*idle).data = turns.cast();
        must(uv_idle_start(idle, Some(count_turn)));
        arguments.ready();
        let meter = Meter::start();
        run_loop();
        meter.report((*turns).done);
    }
}

unsafe extern "C" fn count_turn(idle: *mut uv_idle_t) {
    // SAFETY: see `loop_count`.
    unsafe {
        let turns = (*idle).data.cast::<Turns>();
        (*turns).done += 1;
        if (*turns).done == (*turns).limit {
            uv_idle_stop(idle);
        }
    }
}

pub fn hooks(arguments: &Arguments) {
    let handles: usize = arguments.get("handles");
    let mut turns = Turns { done: 0, limit: arguments.get("turns"), calls: 0 };
    let turns = &raw mut turns;
    let idles = alloc_many::<uv_idle_t>(handles);
    let prepares = alloc_many::<uv_prepare_t>(handles);
    let checks = alloc_many::<uv_check_t>(handles);
    let last = alloc::<uv_check_t>();
    // SAFETY: everything lives until the process exits.
    unsafe {
        for number in 0..handles {
            let (idle, prepare, check) = (idles.add(number), prepares.add(number), checks.add(number));
            must(uv_idle_init(default_loop(), idle));
            must(uv_prepare_init(default_loop(), prepare));
            must(uv_check_init(default_loop(), check));
            (*idle).data = turns.cast();
            (*prepare).data = turns.cast();
            (*check).data = turns.cast();
            must(uv_idle_start(idle, Some(idle_called)));
            must(uv_prepare_start(prepare, Some(prepare_called)));
            must(uv_check_start(check, Some(check_called)));
        }
        must(uv_check_init(default_loop(), last));
        (*last).data = turns.cast();
        must(uv_check_start(last, Some(count_hooked_turn)));
        arguments.ready();
        let meter = Meter::start();
        run_loop();
        meter.report((*turns).calls);
    }
}

unsafe extern "C" fn idle_called(idle: *mut uv_idle_t) {
    // SAFETY: see `hooks`.
    unsafe { (*(*idle).data.cast::<Turns>()).calls += 1 }
}

unsafe extern "C" fn prepare_called(prepare: *mut uv_prepare_t) {
    // SAFETY: see `hooks`.
    unsafe { (*(*prepare).data.cast::<Turns>()).calls += 1 }
}

unsafe extern "C" fn check_called(check: *mut uv_check_t) {
    // SAFETY: see `hooks`.
    unsafe { (*(*check).data.cast::<Turns>()).calls += 1 }
}

/// After `uv_stop`, libuv finishes the turn.
unsafe extern "C" fn count_hooked_turn(check: *mut uv_check_t) {
    // SAFETY: see `hooks`.
    unsafe {
        let turns = (*check).data.cast::<Turns>();
        (*turns).done += 1;
        if (*turns).done == (*turns).limit {
            uv_stop((*check).loop_);
        }
    }
}

// ---- handles

/// Initializes and starts a handle of type `T`.
type Make<T> = unsafe fn(*mut uv_loop_t, *mut T) -> c_int;

pub fn handles(arguments: &Arguments) {
    let kind: String = arguments.get("kind");
    // SAFETY: each function gets a loop, and memory for its handle.
    unsafe {
        match kind.as_str() {
            "timer" => make_and_close(arguments, |on, handle| {
                must(uv_timer_init(on, handle));
                uv_timer_start(handle, Some(timer_ignored), 3_600_000, 0)
            }),
            "idle" => make_and_close(arguments, |on, handle| {
                must(uv_idle_init(on, handle));
                uv_idle_start(handle, Some(idle_ignored))
            }),
            "prepare" => make_and_close(arguments, |on, handle| {
                must(uv_prepare_init(on, handle));
                uv_prepare_start(handle, Some(prepare_ignored))
            }),
            "check" => make_and_close(arguments, |on, handle| {
                must(uv_check_init(on, handle));
                uv_check_start(handle, Some(check_ignored))
            }),
            "wake" => make_and_close(arguments, |on, handle| uv_async_init(on, handle, Some(wake_ignored))),
            other => missing(other),
        }
    }
}

/// All handles are in one block of memory, as in libuv's own benchmarks: the lowest cost they can have.
unsafe fn make_and_close<T>(arguments: &Arguments, make: Make<T>) {
    let count: usize = arguments.get("count");
    let mut closed = 0_u64;
    let closed = &raw mut closed;
    arguments.ready();
    let meter = Meter::start();
    let handles = alloc_many::<T>(count);
    // SAFETY: every handle begins with a `uv_handle_t`; they are freed once all of them are closed.
    unsafe {
        for number in 0..count {
            let handle = handles.add(number);
            must(make(default_loop(), handle));
            (*handle.cast::<uv_handle_t>()).data = closed.cast();
        }
        for number in 0..count {
            uv_close(handles.add(number).cast(), Some(count_closed));
        }
        run_loop();
        free(handles);
        assert_eq!(*closed, count as u64);
    }
    meter.report(count as u64);
}

unsafe extern "C" fn count_closed(handle: *mut uv_handle_t) {
    // SAFETY: see `make_and_close`.
    unsafe { *(*handle).data.cast::<u64>() += 1 }
}

unsafe extern "C" fn timer_ignored(_: *mut uv_timer_t) {}
unsafe extern "C" fn idle_ignored(_: *mut uv_idle_t) {}
unsafe extern "C" fn prepare_ignored(_: *mut uv_prepare_t) {}
unsafe extern "C" fn check_ignored(_: *mut uv_check_t) {}
unsafe extern "C" fn wake_ignored(_: *mut uv_async_t) {}
