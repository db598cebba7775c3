//! An open file, of the system or of a world.

use std::{fs, io};

use super::{
    super::{native::Descriptor as SystemFile, sim::OpenFile},
    forward::not_here,
};

#[derive(Debug)]
pub(crate) enum Descriptor {
    System(SystemFile),
    World(OpenFile),
}

impl Descriptor {
    pub(crate) fn from_file(file: fs::File) -> Descriptor {
        Descriptor::System(SystemFile::from_file(file))
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

    /// Returns the system's file, for a worker of the system.
    pub(crate) fn of_system(&self) -> &SystemFile {
        match self {
            Descriptor::System(file) => file,
            Descriptor::World(_) => unreachable!("a world runs the jobs on its files itself"),
        }
    }

    pub(crate) fn into_system(self) -> SystemFile {
        match self {
            Descriptor::System(file) => file,
            Descriptor::World(_) => unreachable!("a world runs the jobs on its files itself"),
        }
    }
}

impl SystemFile {
    /// Returns the type by which jobs name files.
    pub(crate) fn for_jobs(self) -> Descriptor {
        Descriptor::System(self)
    }
}
