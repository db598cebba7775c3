//! Heap bytes of handles: each is one block of memory with the number that its callback uses, as programs
//! have them.

use std::{ffi::c_void, io, thread};

use libuv_sys2::{
    uv_async_init, uv_async_send, uv_async_t, uv_buf_t, uv_idle_init, uv_idle_start, uv_idle_t, uv_stop,
    uv_stream_t, uv_tcp_t, uv_timer_init, uv_timer_start, uv_timer_t,
};
use ringback_peers::{Arguments, heap_bytes, result};

use crate::{
    base::{alloc, default_loop, must, run_loop},
    servers::{Service, echo_back, listen},
};

/// The handle comes first, so that a pointer to it is a pointer to the number.
#[repr(C)]
struct Numbered<Handle> {
    handle: Handle,
    number: u64,
}

/// Callbacks write their number here, so that they need it. The `data` of every handle.
type Last = u64;

unsafe fn record<Handle>(handle: *mut Handle, data: *mut c_void) {
    // SAFETY: the handle is the first field of a numbered one, whose data is this.
    unsafe { *data.cast::<Last>() = (*handle.cast::<Numbered<Handle>>()).number }
}

pub fn timers(arguments: &Arguments) {
    let count: u64 = arguments.get("count");
    let mut last: Last = 0;
    let last = &raw mut last;
    let loop_ = default_loop();
    let before = heap_bytes();
    for number in 0..count {
        let timer = alloc::<Numbered<uv_timer_t>>();
        // SAFETY: it is never freed.
        unsafe {
            (*timer).number = number;
            let handle = &raw mut (*timer).handle;
            must(uv_timer_init(loop_, handle));
            (*handle).data = last.cast();
            must(uv_timer_start(handle, Some(timer_fired), 3_600_000, 0));
        }
    }
    let grown = heap_bytes() - before;
    result("ops", count);
    result("heap_bytes", grown);
}

unsafe extern "C" fn timer_fired(timer: *mut uv_timer_t) {
    // SAFETY: it was initialized above.
    unsafe { record(timer, (*timer).data) }
}

pub fn idles(arguments: &Arguments) {
    let count: u64 = arguments.get("count");
    let mut last: Last = 0;
    let last = &raw mut last;
    let loop_ = default_loop();
    let before = heap_bytes();
    for number in 0..count {
        let idle = alloc::<Numbered<uv_idle_t>>();
        // SAFETY: it is never freed.
        unsafe {
            (*idle).number = number;
            let handle = &raw mut (*idle).handle;
            must(uv_idle_init(loop_, handle));
            (*handle).data = last.cast();
            must(uv_idle_start(handle, Some(idle_called)));
        }
    }
    let grown = heap_bytes() - before;
    result("ops", count);
    result("heap_bytes", grown);
}

unsafe extern "C" fn idle_called(idle: *mut uv_idle_t) {
    // SAFETY: it was initialized above.
    unsafe { record(idle, (*idle).data) }
}

/// Echoes, and counts the connections it accepts. The `data` of its connections.
struct Weighed;

pub fn conns(arguments: &Arguments) {
    let count: u64 = arguments.get("conns");
    let mut accepted: Last = 0;
    let wake = alloc::<uv_async_t>();
    // SAFETY: it is never freed.
    unsafe { must(uv_async_init(default_loop(), wake, Some(stop))) };
    let wake = wake as usize;
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        // SAFETY: as above; any thread may call `uv_async_send`.
        unsafe { uv_async_send(wake as *mut uv_async_t) };
    });
    let before = heap_bytes();
    listen::<Weighed>((&raw mut accepted).cast());
    run_loop();
    let grown = heap_bytes() - before;
    result("ops", count);
    result("heap_bytes", grown);
}

unsafe extern "C" fn stop(wake: *mut uv_async_t) {
    // SAFETY: the loop is valid while it runs.
    unsafe { uv_stop((*wake).loop_) }
}

impl Service for Weighed {
    type Connection = Numbered<uv_tcp_t>;

    unsafe fn accepted(connection: *mut Numbered<uv_tcp_t>) {
        // SAFETY: the data is the listener's.
        unsafe {
            let accepted = (*connection).handle.data.cast::<Last>();
            *accepted += 1;
            (*connection).number = *accepted;
        }
    }

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
        // SAFETY: the arguments are libuv's. The number never exceeds the count: to see that, it is read.
        unsafe {
            let connection = stream.cast::<Numbered<uv_tcp_t>>();
            if (*connection).number > *(*stream).data.cast::<Last>() {
                uv_stop((*stream).loop_);
            }
            echo_back(stream, count, buffer);
        }
    }
}
