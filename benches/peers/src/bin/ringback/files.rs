//! Small files, their metadata, and a big file.

use std::{path::PathBuf, rc::Rc, sync::Arc};

use ringback::{
    Loop, Result,
    fs::{self, File},
};
use ringback_peers::{Arguments, Meter};

#[derive(Default)]
struct Progress {
    begun: u64,
    done: u64,
}

pub fn read_files(arguments: &Arguments) -> Result {
    let (depth, count): (u64, u64) = (arguments.get("depth"), arguments.get("count"));
    let directory: PathBuf = arguments.get("path");
    let paths: Rc<[PathBuf]> = (0..64).map(|number| directory.join(number.to_string())).collect();
    let mut lp = Loop::new()?;
    let mut progress = Progress::default();
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..depth {
        read_next(&mut lp, &mut progress, paths.clone(), count)?;
    }
    lp.run(&mut progress)?;
    assert_eq!(progress.done, count);
    meter.report(count);
    Ok(())
}

fn read_next(lp: &mut Loop<Progress>, progress: &mut Progress, paths: Rc<[PathBuf]>, count: u64) -> Result {
    if progress.begun == count {
        return Ok(());
    }
    let path = &paths.clone()[(progress.begun % 64) as usize];
    progress.begun += 1;
    File::open(lp, path, move |lp, _, file| {
        let file = file?;
        file.read_at(lp, 0, Vec::with_capacity(4096), move |lp, _, bytes| {
            assert_eq!(bytes?.len(), 4096);
            file.close_then(lp, move |lp, progress: &mut Progress| {
                progress.done += 1;
                read_next(lp, progress, paths, count)
            });
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

pub fn fs_stat(arguments: &Arguments) -> Result {
    let (depth, count): (u64, u64) = (arguments.get("depth"), arguments.get("count"));
    let mut lp = Loop::new()?;
    let mut progress = Progress::default();
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..depth.min(count) {
        stat_next(&mut lp, &mut progress, count)?;
    }
    lp.run(&mut progress)?;
    assert_eq!(progress.done, count);
    meter.report(count);
    Ok(())
}

fn stat_next(lp: &mut Loop<Progress>, progress: &mut Progress, count: u64) -> Result {
    progress.begun += 1;
    fs::metadata(lp, ".", move |lp, progress: &mut Progress, found| {
        found?;
        progress.done += 1;
        if progress.begun < count { stat_next(lp, progress, count) } else { Ok(()) }
    })?;
    Ok(())
}

/// The progress through a file.
struct Blocks {
    file: Option<File>,
    next: u64,
    end: u64,
    done: u64,
    block: usize,
    content: Arc<[u8]>,
}

impl Blocks {
    fn of(block: usize, end: u64) -> Blocks {
        Blocks { file: None, next: 0, end, done: 0, block, content: vec![b'w'; block].into() }
    }
}

pub fn read_big(arguments: &Arguments) -> Result {
    let path: PathBuf = arguments.get("path");
    let (block, depth): (usize, usize) = (arguments.get("block"), arguments.get("depth"));
    let len = std::fs::metadata(&path).map_err(ringback::Error::other)?.len();
    let mut lp = Loop::new()?;
    let mut blocks = Blocks::of(block, len);
    arguments.ready();
    let meter = Meter::start();
    File::open(&mut lp, path, move |lp, blocks: &mut Blocks, file| {
        blocks.file = Some(file?);
        (0..depth).try_for_each(|_| read_block(lp, blocks, Vec::with_capacity(block)))
    })?;
    lp.run(&mut blocks)?;
    assert_eq!(blocks.done, len);
    meter.report(len);
    Ok(())
}

fn read_block(lp: &mut Loop<Blocks>, blocks: &mut Blocks, buffer: Vec<u8>) -> Result {
    let Some(file) = blocks.file else { return Ok(()) };
    if blocks.next >= blocks.end {
        return Ok(());
    }
    let offset = blocks.next;
    blocks.next += blocks.block as u64;
    file.read_at(lp, offset, buffer, |lp, blocks: &mut Blocks, bytes| {
        let bytes = bytes?;
        blocks.done += bytes.len() as u64;
        finish(lp, blocks);
        read_block(lp, blocks, bytes)
    })?;
    Ok(())
}

fn finish(lp: &mut Loop<Blocks>, blocks: &mut Blocks) {
    if blocks.done >= blocks.end
        && let Some(file) = blocks.file.take()
    {
        file.close(lp);
    }
}

pub fn write_big(arguments: &Arguments) -> Result {
    let path: PathBuf = arguments.get("path");
    let (block, depth): (usize, usize) = (arguments.get("block"), arguments.get("depth"));
    let len: u64 = arguments.get("bytes");
    let mut lp = Loop::new()?;
    let mut blocks = Blocks::of(block, len);
    arguments.ready();
    let meter = Meter::start();
    File::create(&mut lp, path, move |lp, blocks: &mut Blocks, file| {
        blocks.file = Some(file?);
        (0..depth).try_for_each(|_| write_block(lp, blocks))
    })?;
    lp.run(&mut blocks)?;
    assert_eq!(blocks.done, len);
    meter.report(len);
    Ok(())
}

fn write_block(lp: &mut Loop<Blocks>, blocks: &mut Blocks) -> Result {
    let Some(file) = blocks.file else { return Ok(()) };
    if blocks.next >= blocks.end {
        return Ok(());
    }
    let offset = blocks.next;
    blocks.next += blocks.block as u64;
    file.write_at(lp, offset, blocks.content.clone(), |lp, blocks: &mut Blocks, count| {
        blocks.done += count? as u64;
        finish(lp, blocks);
        write_block(lp, blocks)
    })?;
    Ok(())
}
