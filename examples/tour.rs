//! A tour of what one loop does, one thing after the other.
//!
//!     cargo run --release --example tour
//!
//! Each callback prints a line: timers, idle work, a file, a worker, a conversation over TCP, a failure that
//! is handled. Then nothing is left to wait for, and the loop says what it has done.

use std::time::Duration;

use ringback::{Idle, Loop, Result, Timer, fs, net, net::Event, work};

fn main() -> Result {
    let mut lp = Loop::new()?;
    lp.on_failure(|_, _, failure| {
        println!("failure: {failure}, and the loop goes on");
        Ok(())
    });

    let beat = Timer::every(&mut lp, Duration::from_millis(250), |_, count: &mut u32| {
        *count += 1;
        println!("timer: beat {count}");
        Ok(())
    })?;
    beat.set_name(&mut lp, "heartbeat")?;
    print!("why alive?\n{}", lp.why_alive());
    let mut count = 0; // The program's own: lent to the loop, and so to every callback.
    lp.run_for(&mut count, Duration::from_millis(900))?;
    beat.close(&mut lp);

    let idle = Idle::new(&mut lp)?;
    idle.start(&mut lp, move |lp, count| {
        *count += 1;
        if *count == 1000 {
            println!("idle: counted to {count} in small pieces, and nobody had to wait");
            idle.close(lp);
            return remember(lp);
        }
        Ok(())
    })?;
    lp.run(&mut count)?;
    let done = lp.metrics();
    println!("metrics: {} turns, {} callbacks, busy for {:?}", done.turns, done.callbacks, done.busy);
    Ok(())
}

fn remember(lp: &mut Loop<u32>) -> Result {
    let path = std::env::temp_dir().join(format!("ringback-tour-{}", std::process::id()));
    fs::write(lp, path.clone(), "written by a loop", move |lp, _, written| {
        written?;
        fs::read(lp, path.clone(), move |lp, _, bytes| {
            println!("file: {}", String::from_utf8(bytes?)?);
            let remove = || std::fs::remove_file(path);
            work::run(lp, remove, |lp, _, removed| {
                removed??;
                println!("worker: the file is removed");
                talk(lp)
            })
            .map(drop)
        })
        .map(drop)
    })
    .map(drop)
}

fn talk(lp: &mut Loop<u32>) -> Result {
    let listener = net::TcpListener::bind(lp, "127.0.0.1:0")?;
    listener.start(lp, move |lp, _, server| {
        listener.close(lp); // One is enough.
        server.start(lp, move |lp, _, event| {
            if let Event::Data(question) = event? {
                println!("server: was asked {:?}", String::from_utf8_lossy(question));
                question.make_ascii_uppercase();
                server.write(lp, question)?;
                server.finish(lp)?;
            }
            Ok(())
        })
    })?;
    let addr = listener.local_addr(lp)?;
    let client = net::TcpStream::connect(lp, addr, |_, _, connected| connected.map(drop))?;
    client.write(lp, "is anybody there?")?; // It leaves once the connection is made.
    client.start(lp, move |lp, _, event| match event? {
        Event::Data(answer) => {
            println!("client: was told {:?}", String::from_utf8_lossy(answer));
            client.finish(lp)
        }
        Event::Closed => Timer::after(lp, Duration::ZERO, |_, _| Err("out of tea".into())).map(drop),
        _ => Ok(()),
    })
}
