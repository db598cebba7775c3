//! Socket addresses, as programs write them.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::error::{Error, Result};

/// An internet address with a port: a [`SocketAddr`], an `(ip, port)` pair, or text such as
/// `"127.0.0.1:7000"` or `"[::1]:7000"`.
///
/// Names such as `localhost` are refused, because a lookup may block for seconds. Look a name up on a worker
/// first, with [`work::run`](crate::work::run).
pub trait ToAddr {
    /// Returns the address, or an [`Error::Invalid`] that says why it is none.
    fn to_addr(&self) -> Result<SocketAddr>;
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> Result<SocketAddr> {
        (**self).to_addr()
    }
}

impl ToAddr for str {
    fn to_addr(&self) -> Result<SocketAddr> {
        self.parse().map_err(|_| {
            let wanted = "is not an address such as 127.0.0.1:7000 or [::1]:7000";
            let hint = match self.rsplit_once(':') {
                Some((name, port)) if port.parse::<u16>().is_ok() && name.contains(char::is_alphabetic) => {
                    "; names are not looked up"
                }
                _ => "",
            };
            Error::invalid("address", format!("{self:?} {wanted}{hint}"))
        })
    }
}

impl ToAddr for String {
    fn to_addr(&self) -> Result<SocketAddr> {
        self.as_str().to_addr()
    }
}

macro_rules! already_addresses {
    ($($addr:ty),*) => {$(
        impl ToAddr for $addr {
            fn to_addr(&self) -> Result<SocketAddr> {
                Ok((*self).into())
            }
        }
    )*};
}

already_addresses!(SocketAddr, SocketAddrV4, SocketAddrV6);

impl<I: Into<IpAddr> + Copy> ToAddr for (I, u16) {
    fn to_addr(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.0.into(), self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_pairs_and_addresses_are_addresses() {
        assert_eq!("127.0.0.1:80".to_addr().unwrap(), ([127, 0, 0, 1], 80).to_addr().unwrap());
        assert!("[::1]:0".to_addr().unwrap().is_ipv6());
    }

    #[test]
    fn a_name_is_refused_with_a_hint() {
        let error = "localhost:80".to_addr().unwrap_err().to_string();
        assert!(error.contains("\"localhost:80\"") && error.contains("names are not looked up"), "{error}");
        assert!("127.0.0.1".to_addr().is_err());
        assert!("127.0.0.1:70000".to_addr().is_err());
        assert!("".to_addr().is_err());
    }
}
