//! Clients of `sink` and `pound`: `write_batch`, `pump`, `connect`, after libuv's `tcp_write_batch`,
//! `tcp_pump_client` and `tcp4_pound`.

use std::{
    ffi::{c_char, c_int},
    mem,
};

use libuv_sys2::{
    sockaddr_in, uv_buf_t, uv_close, uv_connect_t, uv_errno_t_UV_EOF, uv_handle_t, uv_ip4_addr, uv_now,
    uv_read_start, uv_shutdown, uv_shutdown_t, uv_stop, uv_stream_t, uv_tcp_connect, uv_tcp_init, uv_tcp_t,
    uv_timer_init, uv_timer_start, uv_timer_t, uv_update_time, uv_write, uv_write_t,
};
use ringback_peers::{Arguments, Meter};

use crate::base::{alloc, alloc_many, default_loop, fail, free, give_buffer, must, run_loop};

fn target(arguments: &Arguments) -> sockaddr_in {
    // SAFETY: an address of zeros is valid, and libuv writes to it.
    unsafe {
        let mut addr = mem::zeroed();
        must(uv_ip4_addr(c"127.0.0.1".as_ptr(), arguments.get("port"), &mut addr));
        addr
    }
}

fn milliseconds(arguments: &Arguments) -> u64 {
    (arguments.get::<f64>("seconds") * 1000.0) as u64
}

// ---- write_batch

const MESSAGE: &[u8] = b"Hello, world.";

struct WriteRequest {
    request: uv_write_t,
    buffer: uv_buf_t,
}

struct Batch {
    requests: *mut WriteRequest,
    count: usize,
    written: usize,
    shutdown: uv_shutdown_t,
}

pub fn write_batch(arguments: &Arguments) {
    let count = arguments.get_or("count", 1_000_000);
    let addr = target(arguments);
    let requests = alloc_many::<WriteRequest>(count);
    // SAFETY: what libuv gets pointers to lives until the loop has run.
    unsafe {
        for number in 0..count {
            let base = MESSAGE.as_ptr().cast_mut().cast();
            (*requests.add(number)).buffer = uv_buf_t { base, len: MESSAGE.len() };
        }
        let mut batch = Batch { requests, count, written: 0, shutdown: mem::zeroed() };
        let batch = &raw mut batch;
        arguments.ready();
        let meter = Meter::start();
        let (tcp, connect) = (alloc::<uv_tcp_t>(), alloc::<uv_connect_t>());
        must(uv_tcp_init(default_loop(), tcp));
        (*tcp).data = batch.cast();
        must(uv_tcp_connect(connect, tcp, (&raw const addr).cast(), Some(batch_connected)));
        run_loop();
        assert_eq!((*batch).written, count);
        meter.report(count as u64);
        free(requests);
        free(connect);
        free(tcp);
    }
}

unsafe extern "C" fn batch_connected(connect: *mut uv_connect_t, status: c_int) {
    must(status);
    // SAFETY: the stream's data points to the batch.
    unsafe {
        let stream = (*connect).handle;
        let batch = (*stream).data.cast::<Batch>();
        must(uv_read_start(stream, Some(give_buffer), Some(batch_read)));
        for number in 0..(*batch).count {
            let write = (*batch).requests.add(number);
            must(uv_write(
                &raw mut (*write).request,
                stream,
                &raw const (*write).buffer,
                1,
                Some(batch_written),
            ));
        }
        must(uv_shutdown(&raw mut (*batch).shutdown, stream, Some(batch_shut_down)));
    }
}

unsafe extern "C" fn batch_written(request: *mut uv_write_t, status: c_int) {
    must(status);
    // SAFETY: as above.
    unsafe { (*(*(*request).handle).data.cast::<Batch>()).written += 1 }
}

unsafe extern "C" fn batch_shut_down(_: *mut uv_shutdown_t, status: c_int) {
    must(status);
}

/// The peer closes once it has received everything.
unsafe extern "C" fn batch_read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
    if count < 0 {
        expect_end(count);
        // SAFETY: the stream is closed once; nothing is read after EOF.
        unsafe { uv_close(stream.cast(), None) }
    }
}

/// Exits on any error except EOF.
fn expect_end(count: isize) {
    if count != uv_errno_t_UV_EOF as isize {
        fail(count as c_int);
    }
}

// ---- pump

struct Pump {
    block: Vec<c_char>,
    written: u64,
}

struct PumpConnection {
    tcp: uv_tcp_t,
    connect: uv_connect_t,
    write: uv_write_t,
}

pub fn pump(arguments: &Arguments) {
    let conns: usize = arguments.get("conns");
    let addr = target(arguments);
    let mut pump = Pump { block: vec![b'p' as c_char; arguments.get("bytes")], written: 0 };
    let pump = &raw mut pump;
    let connections = alloc_many::<PumpConnection>(conns);
    let timer = alloc::<uv_timer_t>();
    arguments.ready();
    let meter = Meter::start();
    // SAFETY: what libuv gets pointers to lives until the process exits.
    unsafe {
        for number in 0..conns {
            let connection = connections.add(number);
            let tcp = &raw mut (*connection).tcp;
            must(uv_tcp_init(default_loop(), tcp));
            (*tcp).data = pump.cast();
            let connect = &raw mut (*connection).connect;
            // From a request, the handle leads to the block, and this to the pump.
            (*connect).data = (&raw mut (*connection).write).cast();
            must(uv_tcp_connect(connect, tcp, (&raw const addr).cast(), Some(pump_connected)));
        }
        must(uv_timer_init(default_loop(), timer));
        must(uv_timer_start(timer, Some(pump_over), milliseconds(arguments), 0));
        run_loop();
        meter.report((*pump).written);
    }
}

unsafe extern "C" fn pump_connected(connect: *mut uv_connect_t, status: c_int) {
    must(status);
    // SAFETY: see `pump`.
    unsafe { pump_once((*connect).data.cast(), (*connect).handle) }
}

unsafe fn pump_once(write: *mut uv_write_t, stream: *mut uv_stream_t) {
    // SAFETY: the request is not in use, because a stream has one write at a time.
    unsafe {
        let block = &(*(*stream).data.cast::<Pump>()).block;
        let buffer = uv_buf_t { base: block.as_ptr().cast_mut(), len: block.len() };
        must(uv_write(write, stream, &buffer, 1, Some(pump_written)));
    }
}

unsafe extern "C" fn pump_written(write: *mut uv_write_t, status: c_int) {
    must(status);
    // SAFETY: libuv no longer uses the request.
    unsafe {
        let stream = (*write).handle;
        let pump = (*stream).data.cast::<Pump>();
        (*pump).written += (*pump).block.len() as u64;
        pump_once(write, stream);
    }
}

unsafe extern "C" fn pump_over(timer: *mut uv_timer_t) {
    // SAFETY: the loop is valid while it runs.
    unsafe { uv_stop((*timer).loop_) }
}

// ---- connect

struct Connecting {
    addr: sockaddr_in,
    until: u64,
    done: u64,
}

/// The handle comes first, so that a pointer to it is a pointer to the caller.
#[repr(C)]
struct Caller {
    tcp: uv_tcp_t,
    connect: uv_connect_t,
    write: uv_write_t,
}

pub fn connect(arguments: &Arguments) {
    let conns: usize = arguments.get("conns");
    let mut connecting = Connecting { addr: target(arguments), until: 0, done: 0 };
    let connecting = &raw mut connecting;
    let callers = alloc_many::<Caller>(conns);
    arguments.ready();
    let meter = Meter::start();
    // SAFETY: what libuv gets pointers to lives until the loop has run.
    unsafe {
        uv_update_time(default_loop());
        (*connecting).until = uv_now(default_loop()) + milliseconds(arguments);
        for number in 0..conns {
            let caller = callers.add(number);
            (*caller).tcp.data = connecting.cast();
            call(caller);
        }
        run_loop();
        meter.report((*connecting).done);
        free(callers);
    }
}

unsafe fn call(caller: *mut Caller) {
    // SAFETY: none of it is in use. The handle keeps its data.
    unsafe {
        let tcp = &raw mut (*caller).tcp;
        must(uv_tcp_init(default_loop(), tcp));
        let addr = &raw const (*(*tcp).data.cast::<Connecting>()).addr;
        must(uv_tcp_connect(&raw mut (*caller).connect, tcp, addr.cast(), Some(caller_connected)));
    }
}

unsafe extern "C" fn caller_connected(connect: *mut uv_connect_t, status: c_int) {
    must(status);
    // SAFETY: the handle is the first field of a caller.
    unsafe {
        let stream = (*connect).handle;
        must(uv_read_start(stream, Some(give_buffer), Some(caller_read)));
        let buffer = uv_buf_t { base: c"QS".as_ptr().cast_mut(), len: 2 };
        let write = &raw mut (*stream.cast::<Caller>()).write;
        must(uv_write(write, stream, &buffer, 1, Some(caller_written)));
    }
}

unsafe extern "C" fn caller_written(_: *mut uv_write_t, status: c_int) {
    must(status);
}

unsafe extern "C" fn caller_read(stream: *mut uv_stream_t, count: isize, _: *const uv_buf_t) {
    if count < 0 {
        expect_end(count);
        // SAFETY: the stream is closed once; nothing is read after EOF.
        unsafe { uv_close(stream.cast(), Some(caller_closed)) }
    }
}

unsafe extern "C" fn caller_closed(handle: *mut uv_handle_t) {
    // SAFETY: libuv is done with the handle.
    unsafe {
        let connecting = (*handle).data.cast::<Connecting>();
        (*connecting).done += 1;
        if uv_now(default_loop()) < (*connecting).until {
            call(handle.cast());
        }
    }
}
