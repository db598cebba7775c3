//! Timers: many (after libuv's `million_timers`), restarted and cancelled, and the shortest life of a loop.

use std::mem;

use libuv_sys2::{
    uv_close, uv_handle_t, uv_idle_init, uv_idle_start, uv_idle_t, uv_loop_close, uv_loop_init, uv_loop_t,
    uv_run, uv_run_mode_UV_RUN_DEFAULT, uv_stop, uv_timer_init, uv_timer_start, uv_timer_t,
};
use ringback_peers::{Arguments, Meter, Random, heap_bytes, result};

use crate::base::{alloc, alloc_many, default_loop, free, free_handle, must, run_loop};

#[derive(Default)]
struct Counts {
    fired: u64,
    closed: u64,
}

/// All timers are in one block of memory, as in libuv's benchmark.
pub fn timers(arguments: &Arguments) {
    let count: usize = arguments.get("count");
    let spread: u64 = arguments.get_or("spread", 1);
    let mut counts = Counts::default();
    let counts = &raw mut counts;
    arguments.ready();
    let meter = Meter::start();
    let timers = alloc_many::<uv_timer_t>(count);
    // SAFETY: the timers are freed once all of them are closed.
    unsafe {
        for number in 0..count {
            let timer = timers.add(number);
            let delay = if spread == 0 { 1 } else { number as u64 / 1000 + 1 };
            must(uv_timer_init(default_loop(), timer));
            (*timer).data = counts.cast();
            must(uv_timer_start(timer, Some(fired), delay, 0));
        }
        let started = meter.cpu_ns();
        run_loop();
        let ran = meter.cpu_ns();
        for number in 0..count {
            uv_close(timers.add(number).cast(), Some(closed));
        }
        run_loop();
        free(timers);
        assert_eq!(((*counts).fired, (*counts).closed), (count as u64, count as u64));
        meter.report(count as u64);
        result("start_cpu_ns", started);
        result("run_cpu_ns", ran - started);
        result("free_cpu_ns", meter.cpu_ns() - ran);
    }
}

unsafe extern "C" fn fired(timer: *mut uv_timer_t) {
    // SAFETY: every timer's data points to the counts.
    unsafe { (*(*timer).data.cast::<Counts>()).fired += 1 }
}

unsafe extern "C" fn closed(timer: *mut uv_handle_t) {
    // SAFETY: every timer's data points to the counts.
    unsafe { (*(*timer).data.cast::<Counts>()).closed += 1 }
}

struct Churn {
    timers: Vec<*mut uv_timer_t>,
    random: Random,
    done: u64,
    ops: u64,
}

impl Churn {
    fn half_a_minute_or_more(&mut self) -> u64 {
        30_000 + self.random.below(30_000)
    }

    /// Starts a timer in memory of its own, because it is closed before others are.
    fn start(&mut self) -> *mut uv_timer_t {
        let timer = alloc();
        // SAFETY: it lives until it is closed.
        unsafe {
            must(uv_timer_init(default_loop(), timer));
            must(uv_timer_start(timer, Some(never), self.half_a_minute_or_more(), 0));
        }
        timer
    }

    fn change(&mut self) {
        let index = self.random.below(self.timers.len() as u64) as usize;
        let timer = self.timers[index];
        // SAFETY: it is open.
        unsafe {
            if self.random.below(10) < 9 {
                must(uv_timer_start(timer, Some(never), self.half_a_minute_or_more(), 0));
            } else {
                uv_close(timer.cast(), Some(free_handle));
                self.timers[index] = self.start();
            }
        }
    }
}

unsafe extern "C" fn never(_: *mut uv_timer_t) {}

pub fn churn(arguments: &Arguments) {
    let count: u64 = arguments.get("count");
    let mut churn = Churn { timers: Vec::new(), random: Random::new(1), done: 0, ops: arguments.get("ops") };
    for _ in 0..count {
        let timer = churn.start();
        churn.timers.push(timer);
    }
    let before = heap_bytes();
    let churn = &raw mut churn;
    arguments.ready();
    let meter = Meter::start();
    let idle = alloc::<uv_idle_t>();
    // SAFETY: both live until the loop has run.
    unsafe {
        must(uv_idle_init(default_loop(), idle));
        (*idle).data = churn.cast();
        must(uv_idle_start(idle, Some(change_thousand)));
        run_loop();
        meter.report((*churn).done);
    }
    result("heap_bytes_before", before);
    result("heap_bytes_after", heap_bytes());
}

unsafe extern "C" fn change_thousand(idle: *mut uv_idle_t) {
    // SAFETY: the handle's data points to the churn, and nothing else uses it while the loop runs.
    unsafe {
        let churn = &mut *(*idle).data.cast::<Churn>();
        for _ in 0..1000 {
            churn.change();
        }
        churn.done += 1000;
        if churn.done >= churn.ops {
            uv_stop((*idle).loop_);
        }
    }
}

pub fn start_up(arguments: &Arguments) {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        // SAFETY: the timer is closed before the loop is, and neither is moved.
        unsafe {
            let mut own_loop: uv_loop_t = mem::zeroed();
            let mut timer: uv_timer_t = mem::zeroed();
            must(uv_loop_init(&raw mut own_loop));
            must(uv_timer_init(&raw mut own_loop, &raw mut timer));
            must(uv_timer_start(&raw mut timer, Some(close), 0, 0));
            must(uv_run(&raw mut own_loop, uv_run_mode_UV_RUN_DEFAULT));
            must(uv_loop_close(&raw mut own_loop));
        }
    }
    meter.report(count);
}

unsafe extern "C" fn close(timer: *mut uv_timer_t) {
    // SAFETY: it fires once.
    unsafe { uv_close(timer.cast(), None) }
}
