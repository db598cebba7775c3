//! Small files, their metadata (after libuv's `fs_stat`), and a big file.

use std::{
    error::Error,
    ffi::{CString, c_char, c_int},
    fs, mem, ptr,
};

use libuv_sys2::{
    uv_buf_t, uv_file, uv_fs_close, uv_fs_open, uv_fs_read, uv_fs_req_cleanup, uv_fs_stat, uv_fs_t,
    uv_fs_write,
};
use ringback_peers::{Arguments, Meter};

use crate::base::{alloc_bytes, alloc_many, default_loop, free, must, run_loop};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const FILE_BYTES: usize = 4096;

/// Returns the result of an operation. Its request can then be used again.
unsafe fn outcome(request: *mut uv_fs_t) -> usize {
    // SAFETY: the operation is done.
    unsafe {
        let result = (*request).result;
        uv_fs_req_cleanup(request);
        must(result as c_int) as usize
    }
}

struct Progress {
    begun: u64,
    done: u64,
    count: u64,
    paths: Vec<CString>,
}

impl Progress {
    fn new(arguments: &Arguments, paths: Vec<CString>) -> Progress {
        Progress { begun: 0, done: 0, count: arguments.get("count"), paths }
    }
}

// ---- read_files

/// Reads one file after another. The request comes first, so that a pointer to it is a pointer to the chain.
#[repr(C)]
struct Chain {
    request: uv_fs_t,
    progress: *mut Progress,
    file: uv_file,
    content: [c_char; FILE_BYTES],
}

pub fn read_files(arguments: &Arguments) -> Result {
    let depth: usize = arguments.get("depth");
    let directory: String = arguments.get("path");
    let path_of = |number| CString::new(format!("{directory}/{number}"));
    let paths = (0..64).map(path_of).collect::<std::result::Result<_, _>>()?;
    let mut progress = Progress::new(arguments, paths);
    let progress = &raw mut progress;
    let chains = alloc_many::<Chain>(depth);
    arguments.ready();
    let meter = Meter::start();
    // SAFETY: everything lives until the loop has run.
    unsafe {
        for number in 0..depth {
            let chain = chains.add(number);
            (*chain).progress = progress;
            open_next(chain);
        }
        run_loop();
        assert_eq!((*progress).done, (*progress).count);
        meter.report((*progress).done);
        free(chains);
    }
    Ok(())
}

unsafe fn open_next(chain: *mut Chain) {
    // SAFETY: the chain has no operation in flight. libuv copies the path.
    unsafe {
        let progress = &mut *(*chain).progress;
        if progress.begun == progress.count {
            return;
        }
        let path = progress.paths[progress.begun as usize % progress.paths.len()].as_ptr();
        progress.begun += 1;
        must(uv_fs_open(default_loop(), chain.cast(), path, libc::O_RDONLY, 0, Some(opened)));
    }
}

unsafe extern "C" fn opened(request: *mut uv_fs_t) {
    let chain = request.cast::<Chain>();
    // SAFETY: the buffer lives as long as the chain.
    unsafe {
        (*chain).file = outcome(request) as uv_file;
        let buffer = uv_buf_t { base: (&raw mut (*chain).content).cast(), len: FILE_BYTES };
        must(uv_fs_read(default_loop(), request, (*chain).file, &buffer, 1, 0, Some(read)));
    }
}

unsafe extern "C" fn read(request: *mut uv_fs_t) {
    // SAFETY: as above.
    unsafe {
        assert_eq!(outcome(request), FILE_BYTES);
        must(uv_fs_close(default_loop(), request, (*request.cast::<Chain>()).file, Some(closed)));
    }
}

unsafe extern "C" fn closed(request: *mut uv_fs_t) {
    let chain = request.cast::<Chain>();
    // SAFETY: as above.
    unsafe {
        outcome(request);
        (*(*chain).progress).done += 1;
        open_next(chain);
    }
}

// ---- fs_stat

pub fn fs_stat(arguments: &Arguments) {
    let mut progress = Progress::new(arguments, Vec::new());
    let depth = arguments.get::<u64>("depth").min(progress.count);
    let progress = &raw mut progress;
    let requests = alloc_many::<uv_fs_t>(depth as usize);
    arguments.ready();
    let meter = Meter::start();
    // SAFETY: everything lives until the loop has run.
    unsafe {
        for number in 0..depth {
            let request = requests.add(number as usize);
            (*request).data = progress.cast();
            stat_next(request);
        }
        run_loop();
        assert_eq!((*progress).done, (*progress).count);
        meter.report((*progress).done);
        free(requests);
    }
}

unsafe fn stat_next(request: *mut uv_fs_t) {
    // SAFETY: the request has no operation in flight, and keeps its data.
    unsafe {
        (*(*request).data.cast::<Progress>()).begun += 1;
        must(uv_fs_stat(default_loop(), request, c".".as_ptr(), Some(stat_done)));
    }
}

unsafe extern "C" fn stat_done(request: *mut uv_fs_t) {
    // SAFETY: as above.
    unsafe {
        outcome(request);
        let progress = (*request).data.cast::<Progress>();
        (*progress).done += 1;
        if (*progress).begun < (*progress).count {
            stat_next(request);
        }
    }
}

// ---- read_big, write_big

type Operation = unsafe fn(*mut Block, buffer: &uv_buf_t, offset: i64) -> c_int;

/// A file that is read or written in blocks.
struct Big {
    open: uv_fs_t,
    close: uv_fs_t,
    file: uv_file,
    operation: Operation,
    block: u64,
    next: u64,
    done: u64,
    end: u64,
    blocks: Vec<*mut Block>,
}

/// A block in flight. The request comes first, so that a pointer to it is a pointer to the block.
#[repr(C)]
struct Block {
    request: uv_fs_t,
    big: *mut Big,
    content: *mut u8,
    requested: usize,
}

pub fn read_big(arguments: &Arguments) -> Result {
    let path: String = arguments.get("path");
    let end = fs::metadata(&path)?.len();
    each_block(arguments, path, libc::O_RDONLY, end, read_block)
}

pub fn write_big(arguments: &Arguments) -> Result {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    each_block(arguments, arguments.get("path"), flags, arguments.get("bytes"), write_block)
}

unsafe fn read_block(block: *mut Block, buffer: &uv_buf_t, offset: i64) -> c_int {
    // SAFETY: see `begin_block`.
    unsafe {
        uv_fs_read(default_loop(), block.cast(), (*(*block).big).file, buffer, 1, offset, Some(block_done))
    }
}

unsafe fn write_block(block: *mut Block, buffer: &uv_buf_t, offset: i64) -> c_int {
    // SAFETY: see `begin_block`.
    unsafe {
        uv_fs_write(default_loop(), block.cast(), (*(*block).big).file, buffer, 1, offset, Some(block_done))
    }
}

fn each_block(arguments: &Arguments, path: String, flags: c_int, end: u64, operation: Operation) -> Result {
    let (block, depth): (u64, usize) = (arguments.get("block"), arguments.get("depth"));
    let path = CString::new(path)?;
    // SAFETY: a request of zeros was never used. Everything lives until the loop has run.
    unsafe {
        let (open, close): (uv_fs_t, uv_fs_t) = (mem::zeroed(), mem::zeroed());
        let mut big =
            Big { open, close, file: -1, operation, block, next: 0, done: 0, end, blocks: Vec::new() };
        let big = &raw mut big;
        let new_block = |_| {
            let content = alloc_bytes(block as usize);
            ptr::write_bytes(content, b'w', block as usize);
            Box::into_raw(Box::new(Block { request: mem::zeroed(), big, content, requested: 0 }))
        };
        (*big).blocks = (0..depth).map(new_block).collect();
        (*big).open.data = big.cast();
        arguments.ready();
        let meter = Meter::start();
        must(uv_fs_open(default_loop(), &raw mut (*big).open, path.as_ptr(), flags, 0o644, Some(big_opened)));
        run_loop();
        assert_eq!((*big).done, end);
        meter.report(end);
    }
    Ok(())
}

unsafe extern "C" fn big_opened(request: *mut uv_fs_t) {
    // SAFETY: the request's data.
    unsafe {
        let big = (*request).data.cast::<Big>();
        (*big).file = outcome(request) as uv_file;
        for block in mem::take(&mut (*big).blocks) {
            begin_block(block);
        }
    }
}

unsafe fn begin_block(block: *mut Block) {
    // SAFETY: the block has no operation in flight, and its content lives as long as it does.
    unsafe {
        let big = &mut *(*block).big;
        if big.next >= big.end {
            return;
        }
        let offset = big.next;
        (*block).requested = big.block.min(big.end - offset) as usize;
        big.next += big.block;
        let buffer = uv_buf_t { base: (*block).content.cast(), len: (*block).requested };
        let operation = big.operation;
        must(operation(block, &buffer, offset as i64));
    }
}

unsafe extern "C" fn block_done(request: *mut uv_fs_t) {
    let block = request.cast::<Block>();
    // SAFETY: as above.
    unsafe {
        let count = outcome(request);
        assert_eq!(count, (*block).requested);
        let big = (*block).big;
        (*big).done += count as u64;
        if (*big).done == (*big).end {
            must(uv_fs_close(default_loop(), &raw mut (*big).close, (*big).file, Some(big_closed)));
        } else {
            begin_block(block);
        }
    }
}

unsafe extern "C" fn big_closed(request: *mut uv_fs_t) {
    // SAFETY: the operation is done.
    unsafe { outcome(request) };
}
