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
/// What each stream gets in a burst of `broadcast`.
const MESSAGES_PER_BURST: usize = 20;

/// What a server does with its connections. The handle of each has the listener's `data`.
pub trait Service {
    /// Begins with the handle, and is one block of memory.
    type Connection;

    /// A handle is set up and connected.
    unsafe fn accepted(_connection: *mut Self::Connection) {}

    /// The `uv_read_cb`. When it is told a failure or the end, nothing is read any more, and it is this that
    /// closes.
    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t);
}

fn serve<S: Service>(data: *mut c_void) {
    listen::<S>(data);
    run_loop();
}

/// Says where it listens.
pub fn listen<S: Service>(data: *mut c_void) {
    let listener = alloc::<uv_tcp_t>();
    // SAFETY: the listener is never freed; what the addresses are written to has room for them.
    unsafe {
        must(uv_tcp_init(default_loop(), listener));
        (*listener).data = data;
        let mut addr: sockaddr_in = mem::zeroed();
        must(uv_ip4_addr(c"127.0.0.1".as_ptr(), 0, &mut addr));
        must(uv_tcp_bind(listener, (&raw const addr).cast(), 0));
        // What it accepts inherits this: a system call less for each.
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
    // SAFETY: each stream is closed once: when its reading has ended, or before that has begun.
    unsafe { uv_close(stream.cast(), Some(free_handle)) }
}

/// Closes, after the end (or a failure), when all is written that was to be.
pub unsafe fn finish(stream: *mut uv_stream_t, why: isize) {
    // SAFETY: the request is freed in its callback, or here when there will be none.
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
    // SAFETY: the request is libuv's no more; nothing else has closed the stream.
    unsafe {
        let stream = (*request).handle;
        free(request);
        close(stream);
    }
}

/// Writes a copy of it: the request and, behind it in the same block, the bytes, until they are written.
pub unsafe fn write_copy(stream: *mut uv_stream_t, bytes: &[c_char]) {
    let request = alloc_bytes(size_of::<uv_write_t>() + bytes.len()).cast::<uv_write_t>();
    // SAFETY: there is room for both.
    unsafe {
        let copy = request.add(1).cast::<c_char>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        write(request, stream, copy, bytes.len());
    }
}

/// Writes, and frees the request, and what is in the same block, then.
unsafe fn write(request: *mut uv_write_t, stream: *mut uv_stream_t, bytes: *mut c_char, len: usize) {
    let buffer = uv_buf_t { base: bytes, len };
    // SAFETY: libuv copies the descriptor of the buffer.
    if unsafe { uv_write(request, stream, &buffer, 1, Some(written)) } < 0 {
        // SAFETY: without the callback the request stays ours.
        unsafe { free(request) }
    }
}

/// Whether it was written does not matter: if the peer is gone, the stream is closed when reading says so.
unsafe extern "C" fn written(request: *mut uv_write_t, _: c_int) {
    // SAFETY: libuv does not use it any more.
    unsafe { free(request) }
}

/// What was read.
///
/// # Safety
///
/// `count` is not negative, and the buffer is not read to before the callback has returned.
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
        // SAFETY: as libuv calls it.
        unsafe { echo_back(stream, count, buffer) }
    }
}

/// The read callback of `echo`, and of what else echoes.
pub unsafe fn echo_back(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
    // SAFETY: the stream is open, and the count tells whether the buffer was written to.
    unsafe {
        match count {
            ..0 => finish(stream, count),
            // It would have blocked.
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
    /// Of a request that is not whole yet.
    partial: [c_char; MESSAGE_BYTES],
    partial_len: usize,
}

pub fn pipelined() {
    serve::<Pipelined>(ptr::null_mut());
}

impl Service for Pipelined {
    type Connection = PipelinedConnection;

    unsafe fn accepted(connection: *mut PipelinedConnection) {
        // SAFETY: there is room for it.
        unsafe { (*connection).partial_len = 0 }
    }

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, buffer: *const uv_buf_t) {
        // SAFETY: the stream is that of such a connection, and nobody else uses what is behind it.
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

/// In the order in which they were accepted.
struct Streams {
    all: Vec<*mut uv_stream_t>,
    told: usize,
}

/// What is written does not change, so nobody needs a copy.
static MESSAGE: [c_char; MESSAGE_BYTES] = [b'm' as c_char; MESSAGE_BYTES];

pub fn broadcast(arguments: &Arguments) {
    let mut streams = Streams { all: Vec::new(), told: arguments.get("streams") };
    serve::<Broadcast>((&raw mut streams).cast());
}

impl Service for Broadcast {
    type Connection = uv_tcp_t;

    unsafe fn accepted(connection: *mut uv_tcp_t) {
        // SAFETY: it has the listener's data, which are the streams.
        unsafe { (*(*connection).data.cast::<Streams>()).all.push(connection.cast()) }
    }

    unsafe extern "C" fn read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
        // SAFETY: as above. What is among the streams is open.
        unsafe {
            let streams = &mut *(*stream).data.cast::<Streams>();
            if count < 0 {
                streams.all.retain(|&other| other != stream);
                close(stream);
                return;
            }
            for _ in 0..count * MESSAGES_PER_BURST as isize {
                for &stream in streams.all.iter().take(streams.told) {
                    // libuv's buffers are what may be written and what may be read to alike.
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
            // SAFETY: closed, it does not read any more.
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
            // SAFETY: it does not read any more.
            unsafe { close(stream) }
        }
    }
}
