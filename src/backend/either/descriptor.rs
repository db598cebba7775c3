//! An open file of the system's, or of a world's.

use std::{fs, io};

use super::{
    super::{native, sim},
    not_here,
};

#[derive(Debug)]
pub(crate) enum Descriptor {
    System(native::Descriptor),
    World(sim::OpenFile),
}

impl Descriptor {
    pub(crate) fn from_file(file: fs::File) -> Descriptor {
        Descriptor::System(native::Descriptor::from_file(file))
    }

    pub(crate) fn is_append(&self) -> io::Result<bool> {
        match self {
            Descriptor::System(file) => file.is_append(),
            Descriptor::World(_) => Err(not_here("files of the system")),
        }
    }

    pub(crate) fn into_file(self) -> io::Result<fs::File> {
        match self {
            Descriptor::System(file) => file.into_file(),
            Descriptor::World(_) => Err(not_here("files of the system")),
        }
    }

    /// A worker of the system does jobs on files of the system.
    pub(crate) fn of_system(&self) -> &native::Descriptor {
        match self {
            Descriptor::System(file) => file,
            Descriptor::World(_) => unreachable!("a world does the jobs on its files itself"),
        }
    }

    pub(crate) fn into_system(self) -> native::Descriptor {
        match self {
            Descriptor::System(file) => file,
            Descriptor::World(_) => unreachable!("a world does the jobs on its files itself"),
        }
    }
}

impl native::Descriptor {
    /// What jobs name files by.
    pub(crate) fn for_jobs(self) -> Descriptor {
        Descriptor::System(self)
    }
}
