//! What all workloads need: memory from the C allocator, libuv's errors, and the read buffer.

use std::{
    alloc::{Layout, handle_alloc_error},
    ffi::{CStr, c_char, c_int},
    process,
};

use libuv_sys2::{
    uv_buf_t, uv_default_loop, uv_handle_t, uv_loop_t, uv_run, uv_run_mode_UV_RUN_DEFAULT, uv_strerror,
};

pub const BUFFER_BYTES: usize = 64 << 10;

/// One buffer for all streams: each read is consumed before the next one.
static mut BUFFER: [c_char; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// The `uv_alloc_cb` of all streams.
pub unsafe extern "C" fn give_buffer(_: *mut uv_handle_t, _: usize, buffer: *mut uv_buf_t) {
    // SAFETY: libuv passes a valid pointer to the buffer descriptor.
    unsafe { *buffer = uv_buf_t { base: (&raw mut BUFFER).cast(), len: BUFFER_BYTES } };
}

/// Returns the code if it is not an error. Otherwise exits the process, where libuv's own benchmarks assert.
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
    // SAFETY: libuv has a text for every error number.
    unsafe { CStr::from_ptr(uv_strerror(code)) }.to_string_lossy().into_owned()
}

pub fn default_loop() -> *mut uv_loop_t {
    // SAFETY: only ever called on the main thread.
    unsafe { uv_default_loop() }
}

/// Runs the loop until nothing keeps it alive, or it is stopped.
pub fn run_loop() {
    // SAFETY: the loop is not running.
    unsafe { uv_run(default_loop(), uv_run_mode_UV_RUN_DEFAULT) };
}

/// Allocates memory for `count` values, which libuv initializes.
pub fn alloc_many<T>(count: usize) -> *mut T {
    alloc_bytes(count * size_of::<T>()).cast()
}

pub fn alloc<T>() -> *mut T {
    alloc_many(1)
}

pub fn alloc_bytes(bytes: usize) -> *mut u8 {
    // SAFETY: malloc accepts every size.
    let block = unsafe { libc::malloc(bytes) };
    if block.is_null() && bytes > 0 {
        handle_alloc_error(Layout::array::<u8>(bytes).expect("the size is that of a layout"));
    }
    block.cast()
}

pub unsafe fn free<T>(block: *mut T) {
    // SAFETY: the caller got it from `alloc` and no longer uses it.
    unsafe { libc::free(block.cast()) }
}

/// The `uv_close_cb` of handles that are the first field of a block of memory.
pub unsafe extern "C" fn free_handle(handle: *mut uv_handle_t) {
    // SAFETY: libuv no longer uses the handle.
    unsafe { free(handle) }
}
