//! The network of a world: links between hosts, and partitions.

use super::{AnyHost, Link, World};

impl World {
    /// Sets the link between any two hosts that have no link of their own. Existing connections keep their
    /// buffers.
    pub fn set_link(&mut self, link: Link) {
        self.shared.borrow_mut().net.default_link = link.0;
    }

    /// Sets the link between two hosts, or of a host to itself.
    pub fn set_link_between(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>, link: Link) {
        let (one, other) = (one.into().0, other.into().0);
        self.shared.borrow_mut().net.links.insert((one.min(other), one.max(other)), link.0);
    }

    /// Cuts the link between two hosts, both ways. What is in flight waits.
    pub fn partition(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        let (one, other) = (one.into(), other.into());
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Heals the link between two hosts, both ways. What waited arrives.
    pub fn heal(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        let (one, other) = (one.into().0, other.into().0);
        let mut shared = self.shared.borrow_mut();
        shared.set_cut(one, other, false);
        shared.set_cut(other, one, false);
    }

    /// Cuts the link one way: `to` receives nothing from `from`, but `from` still receives.
    pub fn cut(&mut self, from: impl Into<AnyHost>, to: impl Into<AnyHost>) {
        self.shared.borrow_mut().set_cut(from.into().0, to.into().0, true);
    }

    /// Resets every connection between two hosts.
    pub fn reset(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        self.shared.borrow_mut().reset_between(one.into().0, other.into().0);
    }

    /// Returns the number of connections and listeners of a host, for finding leaks. Connections that wait to
    /// be accepted count, too.
    pub fn sockets(&self, host: impl Into<AnyHost>) -> usize {
        self.shared.borrow().ends_of(host.into().0)
    }
}
