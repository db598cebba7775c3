//! Heap bytes of handles.

use std::{io, time::Duration};

use ringback::{
    Idle, Loop, Result, Timer,
    net::{Event, TcpListener},
};
use ringback_peers::{Arguments, announce, heap_bytes, result};

pub fn timers(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let before = heap_bytes();
    for number in 0..count {
        Timer::after(&mut lp, Duration::from_secs(3600), move |_, last: &mut u64| {
            *last = number;
            Ok(())
        })?;
    }
    result("ops", count);
    result("heap_bytes", heap_bytes() - before);
    Ok(())
}

pub fn idles(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let mut lp = Loop::new()?;
    let before = heap_bytes();
    for number in 0..count {
        Idle::every_turn(&mut lp, move |_, last: &mut u64| {
            *last = number;
            Ok(())
        })?;
    }
    result("ops", count);
    result("heap_bytes", heap_bytes() - before);
    Ok(())
}

pub fn conns(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("conns");
    let mut lp = Loop::new()?;
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
    let before = heap_bytes();
    listener.start(&mut lp, |lp, accepted: &mut u64, conn| {
        *accepted += 1;
        let number = *accepted;
        conn.start(lp, move |lp, accepted: &mut u64, event| {
            match event? {
                Event::Data(bytes) => conn.write(lp, bytes)?,
                Event::End => conn.finish(lp)?,
                _ if number > *accepted => lp.stop(),
                _ => {}
            }
            Ok(())
        })
    })?;
    announce(&format!("listening {}", listener.local_addr(&mut lp)?.port()));
    let remote = lp.remote().unref();
    std::thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        remote.post(|lp, _| {
            lp.stop();
            Ok(())
        })
    });
    lp.run(&mut 0)?;
    result("ops", count);
    result("heap_bytes", heap_bytes() - before);
    Ok(())
}
