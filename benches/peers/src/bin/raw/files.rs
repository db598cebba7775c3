//! Files, by plain system calls on one thread: `read_files`, `fs_stat`, `read_big`, `write_big`. Ignores the
//! depth.

use std::{ffi::CString, hint::black_box, os::unix::ffi::OsStringExt, path::Path};

use ringback_peers::{Arguments, Meter};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, open, statx},
    io::{pread, pwrite, read},
};

use crate::Result;

const FILES: usize = 64;
const FILE_BYTES: usize = 4096;

pub fn read_files(arguments: &Arguments) -> Result {
    let directory: String = arguments.get("path");
    let count: usize = arguments.get("count");
    let in_directory =
        |index: usize| Path::new(&directory).join(index.to_string()).into_os_string().into_vec();
    let paths = (0..FILES).map(|index| CString::new(in_directory(index))).collect::<Result<Vec<_>, _>>()?;
    let mut buffer = [0; FILE_BYTES];
    arguments.ready();
    let meter = Meter::start();
    for index in 0..count {
        let file = open(&paths[index % FILES], OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if read(&file, &mut buffer)? != FILE_BYTES {
            return Err("a file is shorter than it should be".into());
        }
    }
    meter.report(count as u64);
    Ok(())
}

pub fn stat(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        black_box(statx(CWD, c".", AtFlags::empty(), StatxFlags::BASIC_STATS)?);
    }
    meter.report(count);
    Ok(())
}

pub fn read_big(arguments: &Arguments) -> Result {
    let path: String = arguments.get("path");
    let mut buffer = vec![0; arguments.get("block")];
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    arguments.ready();
    let meter = Meter::start();
    let mut offset = 0;
    loop {
        match pread(&file, &mut buffer, offset)? {
            0 => break,
            count => offset += count as u64,
        }
    }
    meter.report(offset);
    Ok(())
}

pub fn write_big(arguments: &Arguments) -> Result {
    let path: String = arguments.get("path");
    let bytes: u64 = arguments.get("bytes");
    let block = vec![b'w'; arguments.get("block")];
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))?;
    arguments.ready();
    let meter = Meter::start();
    let mut offset = 0;
    while offset < bytes {
        let piece = block.len().min((bytes - offset) as usize);
        offset += pwrite(&file, &block[..piece], offset)? as u64;
    }
    meter.report(offset);
    Ok(())
}
