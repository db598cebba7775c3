//! Models of the notify queue and its notifiers.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::backend::native::kit::{SmallLoop, explore};

/// Each thread counts and notifies; the loop blocks until it has seen every count.
fn notify_and_look(threads: usize, times: usize) {
    let mut small = SmallLoop::new();
    let notifier = Arc::new(small.notifier(0));
    let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..threads).map(|_| AtomicUsize::new(0)).collect());
    let notifying: Vec<_> = (0..threads)
        .map(|thread| {
            let (notifier, counts) = (notifier.clone(), counts.clone());
            thread::spawn(move || {
                for count in 1..=times {
                    // Relaxed: the notification orders it.
                    counts[thread].store(count, Ordering::Relaxed);
                    assert!(notifier.notify());
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < threads * times {
        if !small.turn().is_empty() {
            notifier.acknowledge();
            seen = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        }
    }
    notifying.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
}

#[test]
fn a_notification_reaches_a_loop_that_is_about_to_block() {
    explore(3, || notify_and_look(1, 2));
}

#[test]
fn coalesced_notifications_of_two_threads_hide_nothing() {
    explore(3, || notify_and_look(2, 1));
}

#[test]
fn two_notifiers_both_reach_the_loop() {
    explore(3, || {
        let mut small = SmallLoop::new();
        let notifying: Vec<_> = (0..2)
            .map(|key| {
                let notifier = small.notifier(key);
                thread::spawn(move || assert!(notifier.notify()))
            })
            .collect();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(small.turn().into_iter().map(|key| key.0));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
        notifying.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    });
}

#[test]
fn a_detached_loops_descriptor_becomes_readable() {
    explore(3, || {
        let small = SmallLoop::new();
        let notifier = small.notifier(0);
        let notifying = thread::spawn(move || assert!(notifier.notify()));
        small.notify_queue.detach();
        small.notify_queue.wake_fd().wait();
        assert!(small.notify_queue.has_pending());
        notifying.join().expect("no thread panics");
    });
}
