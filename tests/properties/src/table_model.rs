//! `Table` against a map of every handle that ever existed.

use std::{collections::BTreeMap, panic::Location};

use crate::handle::{
    Handle,
    flags::Flags,
    table::{NotOpen, Table},
};

#[derive(Clone, Debug)]
pub enum Operation {
    /// Inserts this number of handles.
    Insert(u32),
    /// Sets the flags of a handle, present or not: active, unreferenced, outstanding, closing.
    Change(u32, [bool; 4]),
    /// Removes handles from this one on, this number of them, and releases unused slots.
    Remove(u32, u32),
    Name(u32),
}

const LOOP: u32 = 7;

struct Known {
    handle: Handle,
    /// Its flags and its name, while it is present.
    now: Option<(Flags, Option<String>)>,
}

struct World {
    table: Table<u32>,
    known: Vec<Known>,
    present: BTreeMap<u32, u32>,
}

impl World {
    fn insert(&mut self) {
        let number = self.known.len() as u32;
        let handle = self.table.insert_with(Location::caller(), |_| number);
        assert!(self.known.last().is_none_or(|last| last.handle < handle), "ids are ordered by creation");
        assert_eq!(self.present.insert(handle.index, number), None, "a slot has one handle");
        self.known.push(Known { handle, now: Some((Flags::default(), None)) });
        self.check(number);
    }

    fn change(&mut self, number: u32, [active, unreferenced, outstanding, closing]: [bool; 4]) {
        let Some(known) = self.known.get_mut(number as usize) else { return };
        let wanted = Flags { active, unreferenced, outstanding, closing };
        self.table.update(known.handle, |flags| *flags = wanted);
        if let Some((flags, _)) = &mut known.now {
            *flags = wanted;
        }
        self.check(number);
    }

    fn remove(&mut self, number: u32) {
        let Some(known) = self.known.get_mut(number as usize) else { return };
        let removed = self.table.remove(known.handle);
        assert_eq!(removed.map(|slot| slot.body), known.now.take().map(|_| number));
        if self.present.get(&known.handle.index) == Some(&number) {
            self.present.remove(&known.handle.index);
        }
        if let Some(capacity) = self.table.shrink() {
            assert!(self.table.len() <= capacity);
        }
        self.check(number);
    }

    fn name(&mut self, number: u32) {
        let Some(Known { handle, now: Some((_, name)) }) = self.known.get_mut(number as usize) else {
            return;
        };
        *name = Some(format!("handle {number}"));
        self.table.set_name(*handle, format!("handle {number}"));
        self.check(number);
    }

    /// Compares what the table returns for one handle, stale or not.
    fn check(&mut self, number: u32) {
        let Known { handle, now } = &self.known[number as usize];
        let handle = *handle;
        let is_open = now.as_ref().is_some_and(|(flags, _)| !flags.closing);
        let slot = self.table.get(handle);
        assert_eq!(
            slot.map(|slot| (slot.body, slot.flags())),
            now.as_ref().map(|(flags, _)| (number, *flags))
        );
        assert_eq!(self.table.name(handle), now.as_ref().and_then(|(_, name)| name.as_deref()));
        let resolved = self.table.resolve(handle.key()).map(|(handle, _)| handle);
        assert_eq!(resolved, is_open.then_some(handle), "a stale key finds nothing");
        assert_eq!(self.table.get_open(handle).map(|slot| slot.body), is_open.then_some(number));
        assert_eq!(matches!(self.table.require(handle, "check"), Err(NotOpen::Closed { .. })), !is_open);
        let foreign = Handle { lp: LOOP + 1, ..handle };
        assert!(self.table.get(foreign).is_none());
        assert!(matches!(self.table.require(foreign, "check"), Err(NotOpen::WrongLoop { .. })));
        let present = self.present.get(&handle.index).map(|&other| self.known[other as usize].handle);
        assert_eq!(self.table.at(handle.index), present);
    }

    fn check_all(&self) {
        self.table.verify();
        let present = self.present.values().map(|&number| &self.known[number as usize]);
        let alive =
            present.clone().filter(|known| known.now.as_ref().is_some_and(|(flags, _)| flags.keeps_alive()));
        assert_eq!((self.table.len(), self.table.alive()), (self.present.len(), alive.count()));
        assert!(self.table.iter().map(|(handle, _)| handle).eq(present.map(|known| known.handle)));
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World { table: Table::new(LOOP), known: Vec::new(), present: BTreeMap::new() };
    for operation in operations {
        let ever = world.known.len().max(1) as u32;
        match *operation {
            Operation::Insert(many) => (0..many).for_each(|_| world.insert()),
            Operation::Change(number, flags) => world.change(number % ever, flags),
            Operation::Remove(number, many) => {
                (number % ever..(number % ever).saturating_add(many)).for_each(|number| world.remove(number));
            }
            Operation::Name(number) => world.name(number % ever),
        }
        world.check_all();
    }
}
