//! What all the workloads here need: memory as C has it, errors as libuv tells them, and the buffer that is
//! read to.

use std::{
    alloc::{Layout, handle_alloc_error},
    ffi::{CStr, c_char, c_int},
    process,
};

use libuv_sys2::{
    uv_buf_t, uv_default_loop, uv_handle_t, uv_loop_t, uv_run, uv_run_mode_UV_RUN_DEFAULT, uv_strerror,
};

pub const BUFFER_BYTES: usize = 64 << 10;

/// One for all streams: what is read is dealt with before the next read.
static mut BUFFER: [c_char; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// The `uv_alloc_cb` of all streams.
pub unsafe extern "C" fn give_buffer(_: *mut uv_handle_t, _: usize, buffer: *mut uv_buf_t) {
    // SAFETY: libuv gives a place to be written to.
    unsafe { *buffer = uv_buf_t { base: (&raw mut BUFFER).cast(), len: BUFFER_BYTES } };
}

/// The code, when it tells no failure. Otherwise ends the process, where libuv's own benchmarks have an
/// assertion.
pub fn must(code: c_int) -> c_int {
    if code < 0 {
        fail(code);
    }
    code
}

#[cold]
pub fn fail(code: c_int) -> ! {
    eprintln!("libuv: {}", reason(code));
    process::exit(1)
}

pub fn reason(code: c_int) -> String {
    // SAFETY: libuv has a text for every number.
    unsafe { CStr::from_ptr(uv_strerror(code)) }.to_string_lossy().into_owned()
}

pub fn default_loop() -> *mut uv_loop_t {
    // SAFETY: only ever called on the main thread.
    unsafe { uv_default_loop() }
}

/// Runs until nothing keeps the loop alive, or it is stopped.
pub fn run_loop() {
    // SAFETY: the loop is not running.
    unsafe { uv_run(default_loop(), uv_run_mode_UV_RUN_DEFAULT) };
}

/// Room for so many, for libuv to set up.
pub fn alloc_many<T>(count: usize) -> *mut T {
    alloc_bytes(count * size_of::<T>()).cast()
}

pub fn alloc<T>() -> *mut T {
    alloc_many(1)
}

pub fn alloc_bytes(bytes: usize) -> *mut u8 {
    // SAFETY: every size will do.
    let block = unsafe { libc::malloc(bytes) };
    if block.is_null() && bytes > 0 {
        handle_alloc_error(Layout::array::<u8>(bytes).expect("so much was asked for"));
    }
    block.cast()
}

pub unsafe fn free<T>(block: *mut T) {
    // SAFETY: the caller has it from `alloc` and does not use it any more.
    unsafe { libc::free(block.cast()) }
}

/// The `uv_close_cb` of handles with which a block of memory begins.
pub unsafe extern "C" fn free_handle(handle: *mut uv_handle_t) {
    // SAFETY: libuv does not use it any more.
    unsafe { free(handle) }
}
