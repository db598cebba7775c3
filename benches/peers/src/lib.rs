//! What the programs that are measured have in common: how they are asked, how they measure themselves, how they
//! answer. `benches/compare` starts them; each can be started by hand too, to be profiled:
//!
//! ```sh
//! cargo build --release --manifest-path benches/peers/Cargo.toml
//! P=benches/peers/target/release
//! $P/ringback timers count=10000000                  # measures itself, prints `result …` lines, ends
//! $P/ringback echo                                   # serves: prints `listening PORT`, until it is killed
//! $P/client echo port=PORT conns=50 seconds=2 pid=PID  # drives a server, prints `result …` lines
//! ```
//!
//! # How they are asked
//!
//! `PEER WORKLOAD [key=value]...`. `core=N` pins the whole process to one core (before any thread is started);
//! without it the process runs where the system likes. Numbers are decimal. A workload that a peer does not have
//! is exit status 3 and one line on the standard error; any other failure is exit status 1 and the reason.
//! A peer dies with the process that started it.
//!
//! # How they answer
//!
//! On the standard output, one fact a line:
//!
//! * `listening PORT`: a server is ready, at 127.0.0.1:PORT.
//! * `ready`: with `wait=1`, said by the client and by what measures itself when all is prepared and the operations are
//!   next; it then waits for a line on the standard input. So others can begin to count (system calls, allocations).
//! * `quantile Q NS`: of the latencies, by the client: Q of them (0.5, 0.99, …) were NS or less.
//! * `result KEY VALUE`: a figure, a decimal number. `ops` (operations done), `wall_ns` (the time they took),
//!   `cpu_ns` (the processor time that the process spent on them, all its threads), and what the workload has
//!   besides.
//! * `version TEXT`: for the workload `version`, the library and its version.
//!
//! # The workloads
//!
//! Servers, driven by `client`, until they are killed. TCP_NODELAY is set on what they accept; reads go to a buffer of
//! 64 KiB; the backlog is 1024 or more; one `epoll_wait` (or like) takes up to 1024 events where that can be set.
//!
//! | workload | what the server does |
//! |---|---|
//! | `echo` | every byte comes back, as it came: one write a read. On the end of the stream it closes |
//! | `pipelined` | requests of 64 bytes; each is answered by a write of its own, of 64 bytes. A piece of a request left over is kept for the next read |
//! | `broadcast streams=N` | accepts connections; when one sends a byte, each of the N streams accepted gets 20 messages of 64 bytes, each message a write of its own to each stream, message by message (all streams get the first, then all get the second) |
//! | `pound` | accepts, reads what comes (two bytes), and closes |
//! | `sink` | reads and throws away. Prints nothing more |
//!
//! `echo` takes `busy_poll_us=N` where the library has that.
//!
//! What `client` does with them, at `port=PORT`, for `seconds=S` after `warm_ms=M` (300) that are not counted, with `pid=PID`
//! of the server (`cpu_ns` is then the server's, in the counted time; without it, none). Each latency is from the
//! send of a message to the whole answer. It says `ops`, `wall_ns`, `cpu_ns`, `p50_ns`, `p99_ns`, `p99_9_ns`, `max_ns` and the
//! quantiles. With `ops=N` it ends after N operations instead. Connections come from 127.0.0.1, 127.0.0.2, …, 20,000 from
//! each, so that ports do not run out.
//!
//! | workload | what the client does |
//! |---|---|
//! | `echo conns=N idle=I` | N connections, each with one message of 64 bytes in flight; I more connections that exchanged one message and then are silent |
//! | `pipelined conns=N` | each connection sends 16 requests of 64 bytes in one packet and waits for the 16 answers. `ops` = requests; latency of the packet |
//! | `broadcast streams=N` | connects N, and again and again sends one byte on the first and reads until all N have got their 20 messages. `ops` = messages received by streams (20 × N a burst); latency of a burst |
//! | `pound conns=N` | N clients, each: connect, send "QS", read until the server has closed, close, again. `ops` = connections; latency of one |
//!
//! Clients of a server made by hand (`raw sink`, `raw pound`), at `port=PORT`. `pump` leaves `TCP_NODELAY` off, the
//! others as the library has it:
//!
//! | workload | what the peer does |
//! |---|---|
//! | `write_batch count=1000000` | connects, and in the connect callback issues `count` writes of 13 bytes ("Hello, world."), each its own request, then shuts down, and ends when all of it is written and the peer has closed. `ops` = writes |
//! | `pump conns=N bytes=B seconds=S` | N connections, one write of B bytes outstanding on each, issued again from its callback. `ops` = bytes that were written |
//! | `connect conns=N seconds=S` | N clients, each: connect, write "QS", read until the server has closed, close, again. `ops` = connections done |
//!
//! Measured by themselves. Each times its operations only, not the start of the process:
//!
//! | workload | what is done |
//! |---|---|
//! | `timers count=N` | starts N one-shot timers, timer i due `i / 1000 + 1` ms after the start (1000 in each millisecond; a repeat of the list every 10,000,000 is not needed), each with a callback that counts; runs until all have fired, and closes and frees each. `ops` = N; results `start_cpu_ns`, `run_cpu_ns`, `free_cpu_ns` too. When `spread=0`, all are due in 1 ms |
//! | `timer_churn count=N ops=M` | N timers of 30 to 60 s (random) are running; then M times, from an idle callback that does 1000 a turn: a random timer is re-armed for 30 to 60 s from now (9 of 10), or closed and another one started in its place (1 of 10). `ops` = M. `heap_bytes_before` and `heap_bytes_after` the churn |
//! | `loop_count count=N` | one idle handle counts to N, then stops. `ops` = turns |
//! | `hooks handles=H turns=T` | H idle, H prepare and H check handles; T turns. `ops` = callbacks |
//! | `async_pummel threads=T count=N` | T threads wake one handle as fast as they can, until its callback has run N times. `ops` = callbacks; `sends` = wakes sent |
//! | `million_async handles=H seconds=S` | H wake handles; one thread wakes random ones for S seconds. `ops` = callbacks |
//! | `post threads=T count=N` | T threads post a value of 8 bytes each to the loop thread, N in all, which sums them. A queue must not grow beyond 100,000 values: the sender yields when it is full. `ops` = N |
//! | `queue_work depth=D count=N` | jobs for the thread pool, each one step of a linear congruential generator; D in flight, each queued again from its after-callback until N are done. `ops` = N |
//! | `read_files depth=D count=N path=DIR` | DIR holds files `0` to `63` of 4096 bytes. D chains in flight, each: open file i, read 4096 bytes, close, next. N files in all. `ops` = files read |
//! | `fs_stat depth=D count=N` | stat of ".", D in flight, N in all |
//! | `read_big path=FILE block=B depth=D` | reads FILE whole in blocks of B, D in flight, at offsets. `ops` = bytes |
//! | `write_big path=FILE block=B bytes=N depth=D` | writes N bytes to FILE (created or truncated), in blocks of B, D in flight, at offsets. `ops` = bytes |
//! | `handles kind=K count=N` | N handles of a kind (`timer`, `idle`, `prepare`, `check`, `wake`) are made and started, then closed, and the loop runs until all are gone. `ops` = N |
//! | `start_up count=N` | N times: make a loop, start one timer of 0 (or the least there is), run until it has fired, drop the loop. `ops` = N |
//! | `weigh_timers count=N` | makes and starts N timers of an hour. `heap_bytes` = what the heap grew by. The callback knows its number |
//! | `weigh_idles count=N` | the same with idle handles, started |
//! | `weigh_conns conns=N` | a server (prints `listening PORT`) that echoes; each connection's callback has a number of its own. When a line comes on the standard input, prints `result heap_bytes` (what the heap grew by since before the first was accepted) and ends. The driver has `client echo` exchange one message on each connection first |
//! | `version` | prints `version NAME VERSION` |

mod ask;
mod measure;
mod poller;

pub use ask::{Arguments, announce, announce_locked_version, main_of, missing};
pub use measure::{Meter, cpu_of_process, heap_bytes, pin_to, raise_descriptor_limit, result};
pub use poller::Poller;

/// A generator of numbers that are the same for every peer (xorshift64*; Vigna, 2014).
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

    /// Below `limit`, from the upper bits.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }
}
