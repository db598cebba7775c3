//! A tour of the loop: one feature after the other.
//!
//!     cargo run --release --example tour
//!
//! Prints a line for each: a timer, an idle hook, a file, a worker, a conversation over TCP, and a failure
//! that is handled. Then nothing is left to wait for, and the loop reports what it has done.

use std::time::Duration;

use ringback::{Idle, Loop, Result, Timer, fs, net, net::Event, work};

fn main() -> Result {
    let mut lp = Loop::new()?;
    lp.on_failure(|_, _, failure| {
        println!("failure: {failure}; the loop continues");
        Ok(())
    });

    let beat = Timer::every(&mut lp, Duration::from_millis(250), |_, count: &mut u32| {
        *count += 1;
        println!("timer: beat {count}");
        Ok(())
    })?;
    beat.set_name(&mut lp, "heartbeat")?;
    print!("why alive?\n{}", lp.why_alive());
    // The state belongs to the program. `run` lends it to every callback.
    let mut count = 0;
    lp.run_for(&mut count, Duration::from_millis(900))?;
    beat.close(&mut lp);

    let idle = Idle::new(&mut lp)?;
    idle.start(&mut lp, move |lp, count| {
        *count += 1;
        if *count == 1000 {
            println!("idle: counted to {count}, one turn at a time");
            idle.close(lp);
            use_files(lp)?;
        }
        Ok(())
    })?;
    lp.run(&mut count)?;
    let metrics = lp.metrics();
    println!(
        "metrics: {} turns, {} callbacks, busy for {:.1?}",
        metrics.turns, metrics.callbacks, metrics.busy
    );
    Ok(())
}

fn use_files(lp: &mut Loop<u32>) -> Result {
    let path = std::env::temp_dir().join(format!("ringback-tour-{}", std::process::id()));
    fs::write(lp, path.clone(), "written by a loop", move |lp, _, written| {
        written?;
        fs::read(lp, path.clone(), move |lp, _, bytes| {
            println!("file: {}", String::from_utf8(bytes?)?);
            let remove = || std::fs::remove_file(path);
            work::run(lp, remove, |lp, _, removed| {
                // The first `?` is for a panic on the worker, the second for `remove_file`.
                removed??;
                println!("worker: removed the file");
                use_sockets(lp)
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

fn use_sockets(lp: &mut Loop<u32>) -> Result {
    let listener = net::TcpListener::bind(lp, "127.0.0.1:0")?;
    listener.start(lp, move |lp, _, server| {
        listener.close(lp); // One connection is enough.
        server.start(lp, move |lp, _, event| {
            if let Event::Data(bytes) = event? {
                println!("server: received {:?}", String::from_utf8_lossy(bytes));
                bytes.make_ascii_uppercase();
                server.write(lp, bytes)?;
                server.finish(lp)?;
            }
            Ok(())
        })
    })?;

    let addr = listener.local_addr(lp)?;
    let client = net::TcpStream::connect(lp, addr, |_, _, connected| connected.map(drop))?;
    client.write(lp, "is this a loop?")?; // Sent once the connection is established.
    client.start(lp, move |lp, _, event| match event? {
        Event::Data(bytes) => {
            println!("client: received {:?}", String::from_utf8_lossy(bytes));
            client.finish(lp)
        }
        // An error that a callback returns closes its handle and goes to `on_failure`.
        Event::Closed => Timer::after(lp, Duration::ZERO, |_, _| Err("out of tea".into())).map(drop),
        _ => Ok(()),
    })
}
