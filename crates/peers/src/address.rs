//! The addresses of peers: `host:port`, `192.0.2.7:5442`, `[2001:db8::7]:5442`.

/// The host, without brackets, and the port of an address; none when it is no address.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        // A bare IPv6 address would lose its last part to the port.
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_' | '%');
    (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(split_address("wharf-0.wharf:5442"), Some(("wharf-0.wharf", 5442)));
        assert_eq!(split_address("192.0.2.7:1"), Some(("192.0.2.7", 1)));
        assert_eq!(split_address("[2001:db8::7]:5442"), Some(("2001:db8::7", 5442)));
        for wrong in ["", "host", "host:", ":1", "host:65536", "2001:db8::7:1", "[::1:1", "http://host:1", "a b:1"] {
            assert_eq!(split_address(wrong), None, "{wrong}");
        }
    }
}
