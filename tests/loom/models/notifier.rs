//! The doorbell and its bells.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::backend::native::kit::{SmallLoop, explore};

/// Each thread counts and rings; the loop sleeps until it has seen all that was counted.
fn ring_and_look(threads: usize, rings: usize) {
    let mut small = SmallLoop::new();
    let bell = Arc::new(small.bell(0));
    let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..threads).map(|_| AtomicUsize::new(0)).collect());
    let ringing: Vec<_> = (0..threads)
        .map(|thread| {
            let (bell, counts) = (bell.clone(), counts.clone());
            thread::spawn(move || {
                for count in 1..=rings {
                    // With no order of its own: the ring gives it one.
                    counts[thread].store(count, Ordering::Relaxed);
                    assert!(bell.ring());
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < threads * rings {
        if !small.turn().is_empty() {
            bell.hear();
            seen = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        }
    }
    ringing.into_iter().for_each(|thread| thread.join().expect("it has rung"));
}

#[test]
fn a_ring_reaches_a_loop_that_goes_to_sleep() {
    explore(3, || {
        ring_and_look(1, 2);
    });
}

#[test]
fn rings_of_two_threads_are_one_or_two_but_what_came_before_is_seen() {
    explore(3, || {
        ring_and_look(2, 1);
    });
}

#[test]
fn two_bells_are_both_heard() {
    explore(3, || {
        let mut small = SmallLoop::new();
        let ringing: Vec<_> = (0..2)
            .map(|key| {
                let bell = small.bell(key);
                thread::spawn(move || assert!(bell.ring()))
            })
            .collect();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            heard.extend(small.turn().into_iter().map(|key| key.0));
        }
        heard.sort_unstable();
        assert_eq!(heard, [0, 1]);
        ringing.into_iter().for_each(|thread| thread.join().expect("it has rung"));
    });
}

#[test]
fn who_waits_on_the_descriptor_of_a_loop_that_has_left_hears_of_a_ring() {
    explore(3, || {
        let small = SmallLoop::new();
        let bell = small.bell(0);
        let ringing = thread::spawn(move || assert!(bell.ring()));
        small.doorbell.detach();
        small.doorbell.alarm().wait();
        assert!(small.doorbell.has_notifications());
        ringing.join().expect("it has rung");
    });
}
