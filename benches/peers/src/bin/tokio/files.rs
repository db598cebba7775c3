//! Files: `read_files`, `fs_stat`, `read_big`, `write_big`.

use std::{
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ringback_peers::{Arguments, Meter};
use tokio::{
    fs::{File, metadata},
    io::AsyncReadExt,
    task::{JoinSet, spawn_blocking},
};

use crate::Result;

const FILES: u64 = 64;
const FILE_BYTES: usize = 4096;

pub async fn read_files(arguments: &Arguments) -> Result {
    let directory: String = arguments.get("path");
    let depth: u64 = arguments.get("depth");
    let count: u64 = arguments.get("count");
    let in_directory = |index: u64| Path::new(&directory).join(index.to_string());
    let paths: Arc<[_]> = (0..FILES).map(in_directory).collect();
    arguments.ready();
    let meter = Meter::start();
    let taken = Arc::new(AtomicU64::new(0));
    let mut chains = JoinSet::new();
    for _ in 0..depth {
        let (taken, paths) = (taken.clone(), paths.clone());
        chains.spawn(async move {
            let mut buffer = vec![0; FILE_BYTES];
            loop {
                let index = taken.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return io::Result::Ok(());
                }
                let mut file = File::open(&paths[(index % FILES) as usize]).await?;
                file.read_exact(&mut buffer).await?;
            }
        });
    }
    chains.join_all().await.into_iter().collect::<io::Result<()>>()?;
    meter.report(count);
    Ok(())
}

pub async fn stat(arguments: &Arguments) -> Result {
    let depth: u64 = arguments.get("depth");
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    let begun = Arc::new(AtomicU64::new(0));
    let mut chains = JoinSet::new();
    for _ in 0..depth {
        let begun = begun.clone();
        chains.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                metadata(".").await?;
            }
            io::Result::Ok(())
        });
    }
    chains.join_all().await.into_iter().collect::<io::Result<()>>()?;
    meter.report(count);
    Ok(())
}

/// tokio's own files have a cursor and no reads at offsets, so each block is a blocking job.
pub async fn read_big(arguments: &Arguments) -> Result {
    let file = std::fs::File::open(arguments.get::<String>("path"))?;
    let bytes = file.metadata()?.len();
    arguments.ready();
    let meter = Meter::start();
    let read = in_blocks(arguments, file, bytes, |file, buffer, offset| file.read_exact_at(buffer, offset));
    read.await?;
    meter.report(bytes);
    Ok(())
}

pub async fn write_big(arguments: &Arguments) -> Result {
    let file = std::fs::File::create(arguments.get::<String>("path"))?;
    let bytes = arguments.get("bytes");
    arguments.ready();
    let meter = Meter::start();
    let written = in_blocks(arguments, file, bytes, |file, buffer, offset| file.write_all_at(buffer, offset));
    written.await?;
    meter.report(bytes);
    Ok(())
}

/// Runs an operation on each block of a file, `depth` of them at a time.
async fn in_blocks(
    arguments: &Arguments,
    file: std::fs::File,
    bytes: u64,
    operation: fn(&std::fs::File, &mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let block: u64 = arguments.get("block");
    let depth: u64 = arguments.get("depth");
    let file = Arc::new(file);
    let next = Arc::new(AtomicU64::new(0));
    let mut chains = JoinSet::new();
    for _ in 0..depth {
        let (file, next) = (file.clone(), next.clone());
        chains.spawn(async move {
            let mut buffer = vec![b'w'; block as usize];
            loop {
                let offset = next.fetch_add(block, Ordering::Relaxed);
                if offset >= bytes {
                    return io::Result::Ok(());
                }
                let piece = block.min(bytes - offset) as usize;
                let file = file.clone();
                // The buffer moves to the job, and back with the result.
                buffer = spawn_blocking(move || {
                    operation(&file, &mut buffer[..piece], offset)?;
                    io::Result::Ok(buffer)
                })
                .await??;
            }
        });
    }
    chains.join_all().await.into_iter().collect()
}
