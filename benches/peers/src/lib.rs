//! What the measured programs have in common: their arguments, their measurements, and their output.
//!
//! `benches/compare` starts these programs. To profile one, start it directly:
//!
//! ```sh
//! cargo build --release --manifest-path benches/peers/Cargo.toml
//! P=benches/peers/target/release
//! $P/ringback timers count=10000000                    # measures itself, prints `result …` lines, exits
//! $P/ringback echo                                     # serves: prints `listening PORT`, until it is killed
//! $P/client echo port=PORT conns=50 seconds=2 pid=PID  # drives a server, prints `result …` lines
//! ```
//!
//! # Arguments
//!
//! `PEER WORKLOAD [key=value]...`. Numbers are decimal. `core=N` pins the whole process to one core, before
//! any thread is started; without it the process is not pinned. A peer dies with the process that started it.
//!
//! Exit status 3, with one line on stderr, means that the peer does not have the workload. Any other failure
//! is exit status 1, with the reason on stderr.
//!
//! # Output
//!
//! On stdout, one fact a line:
//!
//! * `listening PORT`: a server is ready, at 127.0.0.1:PORT.
//! * `ready`: with `wait=1`, everything is prepared and the operations are next. The client and the peers
//!   that measure themselves then wait for a line on stdin, so that system calls and allocations can be
//!   counted from here on.
//! * `quantile Q NS`: from the client, a quantile of the latencies: a part Q of them (0.5, 0.99, …) took NS
//!   nanoseconds or less.
//! * `result KEY VALUE`: a figure, as a decimal number. All workloads have `ops` (operations done), `wall_ns`
//!   (the time they took) and `cpu_ns` (the CPU time of the process for them, all threads); some have more.
//! * `version TEXT`: for the workload `version`, the library and its version.
//!
//! # Servers
//!
//! Each serves until it is killed, driven by `client`. Accepted sockets have TCP_NODELAY, the read buffer has
//! 64 KiB, the backlog is 1024 or more, and one `epoll_wait` takes up to 1024 events where that can be set.
//!
//! * `echo`: sends every byte back, with one write for each read. Closes at EOF. Takes `busy_poll_us=N` where
//!   the library has that.
//! * `pipelined`: takes requests of 64 bytes, and responds to each with a write of its own, of 64 bytes. The
//!   bytes of an incomplete request are kept for the next read.
//! * `broadcast streams=N`: accepts connections. When one sends a byte, each of the N streams gets 20
//!   messages of 64 bytes. Each message is a write of its own to each stream, message by message: all streams
//!   get the first, then all get the second.
//! * `pound`: accepts, reads what arrives (two bytes), and closes.
//! * `sink`: reads and discards.
//!
//! # The client
//!
//! Drives a server at `port=PORT` for `seconds=S`, after `warm_ms=M` (300 by default) that are not counted.
//! With `ops=N` it stops after N operations instead. With the server's `pid=PID`, `cpu_ns` is the server's
//! CPU time in the counted time; without, there is no `cpu_ns`. A latency is the time from the send of a
//! message until the whole response has arrived. It prints `ops`, `wall_ns`, `cpu_ns`, `p50_ns`, `p99_ns`,
//! `p99_9_ns`, `max_ns` and the quantiles. Connections come from 127.0.0.1, 127.0.0.2, …, 20,000 from each,
//! so that ports do not run out.
//!
//! * `echo conns=N idle=I`: N connections, each with one message of 64 bytes in flight, and I more that
//!   exchange one message and are then idle.
//! * `pipelined conns=N`: each connection sends 16 requests of 64 bytes in one packet and waits for the 16
//!   responses. `ops` counts requests; the latency is that of the packet.
//! * `broadcast streams=N`: connects N streams, and repeatedly sends one byte on the first and reads until
//!   all N have their 20 messages. `ops` counts the messages received by streams, 20 × N a burst; the latency
//!   is that of a burst.
//! * `pound conns=N`: N clients, each: connect, send "QS", read until EOF, close, repeat. `ops` counts
//!   connections.
//!
//! # Clients of a raw server
//!
//! At `port=PORT`, which is that of `raw sink` or `raw pound`. `pump` turns TCP_NODELAY off; the others leave
//! it at the library's default.
//!
//! * `write_batch count=1000000`: connects, and in the connect callback issues `count` writes of 13 bytes
//!   ("Hello, world."), each its own request. Then shuts down, and ends when everything is written and the
//!   peer has closed. `ops` counts writes.
//! * `pump conns=N bytes=B seconds=S`: N connections, with one write of B bytes outstanding on each, issued
//!   again from its callback. `ops` counts the bytes written.
//! * `connect conns=N seconds=S`: N clients, each: connect, write "QS", read until EOF, close, repeat. `ops`
//!   counts connections.
//!
//! # Workloads that measure themselves
//!
//! Each times its operations only, not the start of the process.
//!
//! * `timers count=N`: starts N one-shot timers, 1000 due in each millisecond: timer i is due `i / 1000 + 1`
//!   ms after the start. Each has a callback that counts. Runs until all have fired, and closes and frees
//!   each. Also prints `start_cpu_ns`, `run_cpu_ns` and `free_cpu_ns`. With `spread=0` all are due in 1 ms.
//! * `timer_churn count=N ops=M`: N timers of 30 to 60 s (random) are running. Then M times, from an idle
//!   callback that does 1000 a turn, a random timer is either restarted for 30 to 60 s from now (9 of 10), or
//!   closed and replaced by a new one (1 of 10). Also prints `heap_bytes_before` and `heap_bytes_after` the
//!   churn.
//! * `loop_count count=N`: one idle handle counts to N, then stops. `ops` counts turns.
//! * `hooks handles=H turns=T`: H idle, H prepare and H check handles, for T turns. `ops` counts callbacks.
//! * `async_pummel threads=T count=N`: T threads wake one handle as fast as they can, until its callback has
//!   run N times. `ops` counts callbacks; `sends` is the number of wakes.
//! * `million_async handles=H seconds=S`: H wake handles; one thread wakes random ones for S seconds. `ops`
//!   counts callbacks.
//! * `post threads=T count=N`: T threads post N values of 8 bytes in all to the loop's thread, which sums
//!   them. The queue is limited to 100,000 values: a sender yields while it is full.
//! * `queue_work depth=D count=N`: jobs for the thread pool, each one step of a linear congruential
//!   generator. D are in flight, each queued again from its after-work callback until N are done.
//! * `read_files depth=D count=N path=DIR`: DIR holds files `0` to `63` of 4096 bytes. D chains are in
//!   flight, each: open file i, read 4096 bytes, close, next. N files in all.
//! * `fs_stat depth=D count=N`: stat of ".", D in flight, N in all.
//! * `read_big path=FILE block=B depth=D`: reads FILE in blocks of B, D in flight, at offsets. `ops` counts
//!   bytes.
//! * `write_big path=FILE block=B bytes=N depth=D`: writes N bytes to FILE (created or truncated), in blocks
//!   of B, D in flight, at offsets. `ops` counts bytes.
//! * `handles kind=K count=N`: makes and starts N handles of a kind (`timer`, `idle`, `prepare`, `check`,
//!   `wake`), closes them, and runs the loop until all are gone.
//! * `start_up count=N`: N times: makes a loop, starts one timer of 0 ms (or the least there is), runs until
//!   it has fired, and drops the loop.
//! * `weigh_timers count=N`: makes and starts N timers of an hour, whose callbacks have a number each.
//!   `heap_bytes` is what the heap grew by.
//! * `weigh_idles count=N`: makes and starts N idle handles, whose callbacks have a number each. `heap_bytes`
//!   as above.
//! * `weigh_conns conns=N`: a server that echoes, whose connections' callbacks have a number each. The driver
//!   has `client echo` exchange one message on each connection, then sends a line to stdin. The server prints
//!   `heap_bytes`, what the heap grew by since before the first accept, and exits.
//! * `version`: prints `version NAME VERSION`.

mod arguments;
mod measure;
mod poller;

pub use arguments::{Arguments, announce, announce_locked_version, main_of, missing};
pub use measure::{Meter, cpu_of_process, heap_bytes, pin_to, raise_descriptor_limit, result};
pub use poller::Poller;

/// A random number generator, the same for every peer: xorshift64* (Vigna, 2014).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number below `limit`, from the upper bits.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }
}
