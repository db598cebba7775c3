//! Servers: `echo`, `pipelined`, `broadcast`, `pound`, `sink`.

use std::{
    ffi::{c_char, c_int, c_void},
    mem, ptr, slice,
};

use libuv_sys2::{
    sockaddr_in, uv_accept, uv_buf_t, uv_close, uv_errno_t_UV_EOF, uv_ip4_addr, uv_listen, uv_read_start,
    uv_shutdown, uv_shutdown_t, uv_stream_t, uv_tcp_bind, uv_tcp_getsockname, uv_tcp_init, uv_tcp_nodelay,
    uv_tcp_t, uv_write, uv_write_t,
};
use ringback_peers::{Arguments, announce, missing};

use crate::base::{alloc, alloc_bytes, default_loop, free, free_handle, give_buffer, must, reason, run_loop};

const MESSAGE_BYTES: usize = 64;
/// Messages for each stream in a burst of `broadcast`.
const MESSAGES_PER_BURST: usize = 20;

/// What a server does with its connections. Each connection's handle has the listener's `data`.
pub trait Service {
    /// The handle is its first field, and it is one block of memory.
    type Connection;

    /// Called when a handle is initialized and connected.
    unsafe fn accepted(_connection: *mut Self::Connection) {}

    /// The `uv_read_cb`. libuv reads no more after it has passed an error or EOF, so this must then close the
    /// stream.
    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t);
}

fn serve<S: Service>(data: *mut c_void) {
    listen::<S>(data);
    run_loop();
}

/// Announces the port of the listener.
pub fn listen<S: Service>(data: *mut c_void) {
    let listener = alloc::<uv_tcp_t>();
    // SAFETY: the listener is never freed; the address buffers are large enough.
    unsafe {
        must(uv_tcp_init(default_loop(), listener));
        (*listener).data = data;
        let mut addr: sockaddr_in = mem::zeroed();
        must(uv_ip4_addr(c"127.0.0.1".as_ptr(), 0, &mut addr));
        must(uv_tcp_bind(listener, (&raw const addr).cast(), 0));
        // Accepted sockets inherit this option, which saves a system call for each.
        must(uv_tcp_nodelay(listener, 1));
        must(uv_listen(listener.cast(), 4096, Some(connected::<S>)));
        let mut len = size_of_val(&addr) as c_int;
        must(uv_tcp_getsockname(listener, (&raw mut addr).cast(), &mut len));
        announce(&format!("listening {}", u16::from_be(addr.sin_port)));
    }
}

unsafe extern "C" fn connected<S: Service>(listener: *mut uv_stream_t, status: c_int) {
    if status < 0 {
        eprintln!("accept: {}", reason(status));
        return;
    }
    let connection = alloc::<S::Connection>();
    let tcp = connection.cast::<uv_tcp_t>();
    // SAFETY: a connection begins with its handle.
    unsafe {
        must(uv_tcp_init((*listener).loop_, tcp));
        (*tcp).data = (*listener).data;
        if uv_accept(listener, tcp.cast()) < 0 {
            close(tcp.cast());
            return;
        }
        S::accepted(connection);
        must(uv_read_start(tcp.cast(), Some(give_buffer), Some(S::read)));
    }
}

pub unsafe fn close(stream: *mut uv_stream_t) {
    // SAFETY: each stream is closed once: after its last read, or before it was started.
    unsafe { uv_close(stream.cast(), Some(free_handle)) }
}

/// Closes the stream after EOF or an error, once everything queued was written.
pub unsafe fn finish(stream: *mut uv_stream_t, why: isize) {
    // SAFETY: the request is freed in its callback, or here if there will be no callback.
    unsafe {
        if why != uv_errno_t_UV_EOF as isize || (*stream).write_queue_size == 0 {
            close(stream);
            return;
        }
        let request = alloc::<uv_shutdown_t>();
        if uv_shutdown(request, stream, Some(shut_down)) < 0 {
            free(request);
            close(stream);
        }
    }
}

unsafe extern "C" fn shut_down(request: *mut uv_shutdown_t, _: c_int) {
    // SAFETY: libuv no longer uses the request, and nothing else has closed the stream.
    unsafe {
        let stream = (*request).handle;
        free(request);
        close(stream);
    }
}

/// Writes a copy of the bytes. They stand behind the request, in the same block of memory, until written.
pub unsafe fn write_copy(stream: *mut uv_stream_t, bytes: &[c_char]) {
    let request = alloc_bytes(size_of::<uv_write_t>() + bytes.len()).cast::<uv_write_t>();
    // SAFETY: the block has room for both.
    unsafe {
        let copy = request.add(1).cast::<c_char>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        write(request, stream, copy, bytes.len());
    }
}

/// Writes the bytes, then frees the block that holds the request.
unsafe fn write(request: *mut uv_write_t, stream: *mut uv_stream_t, bytes: *mut c_char, len: usize) {
    let buffer = uv_buf_t { base: bytes, len };
    // SAFETY: libuv copies the descriptor of the buffer.
    if unsafe { uv_write(request, stream, &buffer, 1, Some(written)) } < 0 {
        // SAFETY: if no callback comes, the request is still ours.
        unsafe { free(request) }
    }
}

/// The status does not matter: if the peer is gone, the stream's next read reports it and closes the stream.
unsafe extern "C" fn written(request: *mut uv_write_t, _: c_int) {
    // SAFETY: libuv no longer uses the request.
    unsafe { free(request) }
}

/// Returns what was read.
///
/// # Safety
///
/// `count` is not negative, and the buffer is not reused before the callback returns.
pub unsafe fn bytes_read<'a>(buffer: *const uv_buf_t, count: isize) -> &'a [c_char] {
    // SAFETY: see above.
    unsafe { slice::from_raw_parts((*buffer).base, count as usize) }
}

// ---- echo

struct Echo;

pub fn echo(arguments: &Arguments) {
    if arguments.get_or("busy_poll_us", 0) != 0 {
        missing("echo with a busy poll");
    }
    serve::<Echo>(ptr::null_mut());
}

impl Service for Echo {
    type Connection = uv_tcp_t;

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
        // SAFETY: the arguments are libuv's.
        unsafe { echo_back(stream, count, buffer) }
    }
}

/// The read callback of `echo`, and of other services that echo.
pub unsafe fn echo_back(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
    // SAFETY: the stream is open, and `count` is the length of what is in the buffer.
    unsafe {
        match count {
            ..0 => finish(stream, count),
            // The read would have blocked.
            0 => {}
            _ => write_copy(stream, bytes_read(buffer, count)),
        }
    }
}

// ---- pipelined

struct Pipelined;

#[repr(C)]
struct PipelinedConnection {
    tcp: uv_tcp_t,
    /// The bytes of an incomplete request.
    partial: [c_char; MESSAGE_BYTES],
    partial_len: usize,
}

pub fn pipelined() {
    serve::<Pipelined>(ptr::null_mut());
}

impl Service for Pipelined {
    type Connection = PipelinedConnection;

    unsafe fn accepted(connection: *mut PipelinedConnection) {
        // SAFETY: the block has room for it.
        unsafe { (*connection).partial_len = 0 }
    }

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
        // SAFETY: the stream is the handle of such a connection, and this is the only reference to it.
        unsafe {
            if count < 0 {
                finish(stream, count);
                return;
            }
            let connection = stream.cast::<PipelinedConnection>();
            let (partial, partial_len) = (&mut (*connection).partial, &mut (*connection).partial_len);
            let mut bytes = bytes_read(buffer, count);
            if *partial_len > 0 {
                let taken = (MESSAGE_BYTES - *partial_len).min(bytes.len());
                partial[*partial_len..*partial_len + taken].copy_from_slice(&bytes[..taken]);
                *partial_len += taken;
                bytes = &bytes[taken..];
                if *partial_len < MESSAGE_BYTES {
                    return;
                }
                *partial_len = 0;
                write_copy(stream, partial);
            }
            let mut requests = bytes.chunks_exact(MESSAGE_BYTES);
            for request in &mut requests {
                write_copy(stream, request);
            }
            *partial_len = requests.remainder().len();
            partial[..*partial_len].copy_from_slice(requests.remainder());
        }
    }
}

// ---- broadcast

struct Broadcast;

/// In the order of acceptance.
struct Streams {
    all: Vec<*mut uv_stream_t>,
    count: usize,
}

/// The messages never change, so all writes can share them.
static MESSAGE: [c_char; MESSAGE_BYTES] = [b'm' as c_char; MESSAGE_BYTES];

pub fn broadcast(arguments: &Arguments) {
    let mut streams = Streams { all: Vec::new(), count: arguments.get("streams") };
    serve::<Broadcast>((&raw mut streams).cast());
}

impl Service for Broadcast {
    type Connection = uv_tcp_t;

    unsafe fn accepted(connection: *mut uv_tcp_t) {
        // SAFETY: the handle has the listener's data, which is the list of streams.
        unsafe { (*(*connection).data.cast::<Streams>()).all.push(connection.cast()) }
    }

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
        // SAFETY: as above. All streams of the list are open.
        unsafe {
            let streams = &mut *(*stream).data.cast::<Streams>();
            if count < 0 {
                streams.all.retain(|&other| other != stream);
                close(stream);
                return;
            }
            for _ in 0..count * MESSAGES_PER_BURST as isize {
                for &stream in streams.all.iter().take(streams.count) {
                    // libuv has one type for buffers to write and to read, with a mutable pointer.
                    write(alloc(), stream, MESSAGE.as_ptr().cast_mut(), MESSAGE_BYTES);
                }
            }
        }
    }
}

// ---- pound

struct Pound;

pub fn pound() {
    serve::<Pound>(ptr::null_mut());
}

impl Service for Pound {
    type Connection = uv_tcp_t;

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
        if count != 0 {
            // SAFETY: a stream that is closed does not read any more.
            unsafe { close(stream) }
        }
    }
}

// ---- sink

struct Sink;

pub fn sink() {
    serve::<Sink>(ptr::null_mut());
}

impl Service for Sink {
    type Connection = uv_tcp_t;

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
        if count < 0 {
            // SAFETY: the stream does not read any more.
            unsafe { close(stream) }
        }
    }
}
