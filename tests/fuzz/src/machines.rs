//! Containers and queues: the bytes become operations, which are applied to one of them and to its model.

use arbitrary::{Result, Unstructured};
use ringback_properties::{
    deadlines_model, job_queue_model, mpsc_model, registrations_model, rounds_model, send_queue_model,
    table_model,
};

/// The most operations of one run. A few are enough to find a defect, because the model is compared after
/// each one.
const OPERATIONS_MAX: usize = 100;

type Bytes<'a, 'b> = &'a mut Unstructured<'b>;

fn operations<T>(bytes: &[u8], next: impl Fn(Bytes<'_, '_>) -> Result<T>) -> Vec<T> {
    let mut bytes = Unstructured::new(bytes);
    let more = || if bytes.is_empty() { None } else { next(&mut bytes).ok() };
    std::iter::from_fn(more).take(OPERATIONS_MAX).collect()
}

/// Draws a count: small as a rule, or close to `limit`, or up to `most`.
fn many(bytes: Bytes<'_, '_>, limit: u32, most: u32) -> Result<u32> {
    Ok(match bytes.int_in_range(0..=31_u8)? {
        0..=20 => bytes.int_in_range(0..=7)?,
        21..=30 => limit - 4 + bytes.int_in_range(0..=7)?,
        _ => bytes.int_in_range(0..=most)?,
    })
}

/// `MpscQueue`, in one thread.
pub fn mpsc(bytes: &[u8]) {
    use mpsc_model::Operation;
    let limit = |bytes: Bytes<'_, '_>| match bytes.int_in_range(0..=3_u8)? {
        0 => Ok(u64::MAX),
        // A block has 63 slots.
        _ => many(bytes, 63, 255).map(u64::from),
    };
    mpsc_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=15_u8)? {
            0..=5 => Operation::Push { many: many(bytes, 63, 255)?, limit: limit(bytes)? },
            6..=8 => Operation::Claim { most: limit(bytes)? },
            9..=12 => Operation::Pop { many: many(bytes, 63, 255)? },
            13..=14 => Operation::GoIdle,
            _ => Operation::Close,
        })
    }));
}

/// `JobQueue` and `CompletionStack`, in one thread.
pub fn job_queue(bytes: &[u8]) {
    use job_queue_model::Operation;
    // The ring has 256 slots.
    job_queue_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=15_u8)? {
            0..=5 => Operation::Push { many: many(bytes, 256, 600)? },
            6..=10 => Operation::Pop { many: many(bytes, 256, 600)?, complete: bytes.arbitrary()? },
            11..=14 => Operation::Cancel {
                from: bytes.int_in_range(0..=4095)?,
                step: bytes.int_in_range(0..=3)?,
                many: many(bytes, 256, 600)?,
            },
            _ => Operation::Drain { most: many(bytes, 256, 600)? },
        })
    }));
}

/// `Deadlines`, with the timing wheel in it.
pub fn deadlines(bytes: &[u8]) {
    use deadlines_model::Operation;
    let deadline = |bytes: Bytes<'_, '_>| {
        // Of every magnitude, with a few values of each, so that equal ones are common; or any value.
        Ok(match bytes.int_in_range(0..=7_u8)? {
            0..=2 => bytes.int_in_range(0..=15)?,
            3..=5 => (1_u64 << bytes.int_in_range(0..=63_u32)?).saturating_add(bytes.int_in_range(0..=15)?),
            6 => bytes.arbitrary()?,
            _ => u64::MAX - bytes.int_in_range(0..=3)?,
        })
    };
    deadlines_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=31_u8)? {
            0..=12 => Operation::Set { owner: bytes.int_in_range(0..=39)?, deadline: deadline(bytes)? },
            13..=17 => Operation::Cancel { owner: bytes.int_in_range(0..=44)? },
            18..=19 => Operation::Get { owner: bytes.int_in_range(0..=2999)? },
            20..=24 => Operation::Pop { now: deadline(bytes)?, age: bytes.int_in_range(0..=7)? },
            25..=28 => Operation::Pass {
                now: deadline(bytes)?,
                again: bytes.int_in_range(1..=4)?,
                delay: bytes.int_in_range(0..=4)?,
            },
            29..=30 => Operation::Burst {
                first: bytes.int_in_range(0..=499)?,
                // Above 64 deadlines `next` may be early; above 1024 owners memory is released.
                many: many(bytes, 64, 1200)?,
                deadline: deadline(bytes)?,
            },
            _ => Operation::CancelAll,
        })
    }));
}

/// `Registrations`.
pub fn registrations(bytes: &[u8]) {
    use registrations_model::Operation;
    let fd = |bytes: Bytes<'_, '_>| {
        Ok(match bytes.int_in_range(0..=3_u8)? {
            0..=2 => bytes.int_in_range(0..=5)?,
            _ => bytes.int_in_range(0..=199)?,
        })
    };
    registrations_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=15_u8)? {
            0..=7 => Operation::Set { fd: fd(bytes)?, interest: bytes.int_in_range(0..=3)? },
            8..=10 => Operation::Forget { fd: fd(bytes)? },
            11..=14 => {
                let many = bytes.int_in_range(0..=3_u8)?;
                Operation::Apply { refuse: (0..many).map(|_| fd(bytes)).collect::<Result<_>>()? }
            }
            _ => Operation::ApplySome { changes: bytes.int_in_range(0..=3)? },
        })
    }));
}

/// `Rounds`.
pub fn rounds(bytes: &[u8]) {
    use rounds_model::{Change, Operation};
    let member = |bytes: Bytes<'_, '_>| bytes.int_in_range(0..=11);
    let change = |bytes: Bytes<'_, '_>| {
        Ok(match bytes.int_in_range(0..=3_u8)? {
            0 => Change::Nothing,
            1 => Change::Join(member(bytes)?),
            2 => Change::Leave(member(bytes)?),
            _ => Change::Rejoin(member(bytes)?),
        })
    };
    rounds_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=15_u8)? {
            0..=4 => Operation::Join(member(bytes)?),
            5..=7 => Operation::Leave(member(bytes)?),
            8..=14 => {
                let many = bytes.int_in_range(0..=15_u8)?;
                let during = (0..many).map(|_| change(bytes)).collect::<Result<_>>()?;
                let visits = if bytes.arbitrary()? { usize::MAX } else { bytes.int_in_range(0..=7)? };
                Operation::Round { during, visits }
            }
            _ => Operation::Churn(bytes.int_in_range(1..=40)?),
        })
    }));
}

/// `Table`.
pub fn table(bytes: &[u8]) {
    use table_model::Operation;
    let which = |bytes: Bytes<'_, '_>| {
        if bytes.arbitrary()? { bytes.int_in_range(0..=7) } else { bytes.int_in_range(0..=4095) }
    };
    table_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=15_u8)? {
            0..=4 => Operation::Insert(many(bytes, 64, 2000)?),
            5..=9 => Operation::Change(which(bytes)?, bytes.arbitrary()?),
            10..=13 => Operation::Remove(which(bytes)?, many(bytes, 64, 2000)?),
            _ => Operation::Name(which(bytes)?),
        })
    }));
}

/// `SendQueue`, and the pool that its buffers come from.
pub fn send_queue(bytes: &[u8]) {
    use send_queue_model::{Operation, Ownership};
    let size = |bytes: Bytes<'_, '_>| {
        // Around each limit: copied or shared, one buffer, pages.
        let around = |bytes: Bytes<'_, '_>, size: usize| Ok(size - 3 + bytes.int_in_range(0..=6)?);
        match bytes.int_in_range(0..=15_u8)? {
            0..=5 => bytes.int_in_range(0..=99),
            6..=8 => around(bytes, 2 << 10),
            9..=11 => around(bytes, 16 << 10),
            12..=13 => around(bytes, 64 << 10),
            14 => around(bytes, 32 << 10),
            _ => bytes.int_in_range(0..=199_999),
        }
    };
    let ownership = |bytes: Bytes<'_, '_>| {
        bytes.choose(&[Ownership::Borrowed, Ownership::Owned, Ownership::Rc, Ownership::Arc]).copied()
    };
    send_queue_model::run(&operations(bytes, |bytes| {
        Ok(match bytes.int_in_range(0..=31_u8)? {
            0..=8 => Operation::Push(ownership(bytes)?, size(bytes)?),
            9..=12 => Operation::Mark,
            13 => Operation::Burst(bytes.int_in_range(1..=200)?),
            14..=19 => {
                Operation::Send { pieces: bytes.int_in_range(1..=70)?, share: bytes.int_in_range(0..=16)? }
            }
            20..=22 => Operation::SendAllBut(bytes.int_in_range(0..=99)?),
            23..=25 => Operation::Compact,
            26 => Operation::Skip(bytes.int_in_range(0..=99_999)?),
            27..=29 => Operation::PopReachedMarks,
            30 => Operation::PopMark,
            _ => Operation::Clear,
        })
    }));
}
