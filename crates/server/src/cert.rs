//! Certificates for the nodes of a cluster, for those who have no authority of their own: one file pair for the authority,
//! one for each node.
//!
//! Always holds: private keys can be read by their owner alone; nothing that is there is overwritten unless asked for; what
//! comes out is tried as a node would use it before it gets its name. Certificates of other authorities are not made here:
//! the tools that made those make certificates for nodes, too.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use wharf_peers::{Identity, TlsFiles};

use crate::failure::Failure;

/// Whom all certificates of nodes name as their issuer. It is the same for every authority made here, so that it need not be
/// read from its certificate; authorities are told apart by their keys.
const AUTHORITY: &str = "wharf cluster authority";

/// The files of an authority.
const AUTHORITY_CERTIFICATE: &str = "ca.pem";
const AUTHORITY_KEY: &str = "ca.key.pem";

/// Certificates are valid before they are made: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a certificate and its key were written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What becomes of files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// They stay, and that is an error.
    Refuse,
    /// They stay, and that is well: somebody has made them before.
    Keep,
    /// Others take their place.
    Replace,
}

/// What a certificate for a node says.
#[derive(Debug)]
pub(crate) struct NodeCertificate<'a> {
    /// The name of its files.
    pub(crate) name: &'a str,
    /// The hosts and addresses at which other nodes reach it.
    pub(crate) addresses: &'a [String],
    pub(crate) days: u32,
}

impl Written {
    /// They are there and stay.
    fn is_kept(&self, present: Present) -> bool {
        present == Present::Keep && self.certificate.exists() && self.key.exists()
    }
}

/// Makes an authority in a folder.
///
/// # Errors
/// When there is one already, as `present` says, or the folder cannot be written.
pub(crate) fn authority(folder: &Path, days: u32, present: Present) -> Result<Written, Failure> {
    let written = Written { certificate: folder.join(AUTHORITY_CERTIFICATE), key: folder.join(AUTHORITY_KEY) };
    if written.is_kept(present) {
        return Ok(written);
    }
    let key = KeyPair::generate().map_err(|error| unmade(&error))?;
    let mut params = authority_params();
    valid_for(&mut params, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, key).map_err(|error| unmade(&error))?;
    let staged = Staged::write(&written, &authority.pem(), &authority.key().serialize_pem(), present)?;
    staged.publish(present)?;
    Ok(written)
}

/// Makes a certificate for a node in a folder, signed by the authority of another.
///
/// # Errors
/// When the authority is missing or none of ours, the node has a certificate already, as `present` says, or the
/// folder cannot be written.
pub(crate) fn node(
    authority: &Path,
    folder: &Path,
    node: &NodeCertificate<'_>,
    present: Present,
) -> Result<Written, Failure> {
    check_name(node.name)?;
    node.addresses.iter().try_for_each(|address| check_address(address))?;
    let written = Written {
        certificate: folder.join(format!("{}.pem", node.name)),
        key: folder.join(format!("{}.key.pem", node.name)),
    };
    if written.is_kept(present) {
        return Ok(written);
    }
    let key_file = authority.join(AUTHORITY_KEY);
    let authority_key = std::fs::read_to_string(&key_file).map_err(|error| {
        Failure::from_io(
            "read the authority's key",
            &key_file,
            &error,
            "name the folder of an authority with --ca; `wharf cert ca --out certs` makes one",
        )
    })?;
    let authority_key = KeyPair::from_pem(&authority_key).map_err(|error| {
        Failure::from_error(
            format_args!("{} is not a private key", key_file.display()),
            &error,
            "name the folder that `wharf cert ca` has made with --ca",
        )
    })?;
    let issuer = Issuer::new(authority_params(), authority_key);
    let key = KeyPair::generate().map_err(|error| unmade(&error))?;
    let mut params = CertificateParams::new(node.addresses).map_err(|error| unmade(&error))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, node.name);
    valid_for(&mut params, node.days);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node calls and is called.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).map_err(|error| unmade(&error))?;

    let staged = Staged::write(&written, &certificate.pem(), &key.serialize_pem(), present)?;
    let files = TlsFiles {
        authority: authority.join(AUTHORITY_CERTIFICATE),
        certificate: staged.certificate.temporary.clone(),
        key: staged.key.temporary.clone(),
    };
    Identity::load(files).map_err(|error| {
        Failure::from_error(
            format_args!("the authority in {} cannot be used", authority.display()),
            &error,
            "its ca.pem and ca.key.pem have to be a pair that `wharf cert ca` has made and that is not expired; for the \
             certificates of another authority use the tools that made it",
        )
    })?;
    staged.publish(present)?;
    Ok(written)
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(CLOCK_SKEW);
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + DAY * days;
}

/// A name becomes the name of a file.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') || name == "ca" {
        return Err(Failure::new(
            format!("\"{name}\" cannot be the name of a node's files"),
            "use letters, digits, - and _ in --name, such as node1",
        ));
    }
    Ok(())
}

/// A certificate is for hosts, on whatever port.
fn check_address(address: &str) -> Result<(), Failure> {
    let is_name = || {
        let label = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        address.split('.').enumerate().all(|(place, part)| label(part) || (place == 0 && part == "*"))
    };
    if address.parse::<IpAddr>().is_ok() || is_name() {
        return Ok(());
    }
    Err(Failure::new(
        format!("\"{address}\" is neither a host's name nor an IP address"),
        "give the hosts of the node's peers.address without a port: --address node1.example.com 192.0.2.7",
    ))
}

fn unmade(error: &Error) -> Failure {
    Failure::from_error("cannot make the certificate", error, "report this")
}

/// A certificate and its key, written and not yet under their names.
struct Staged {
    certificate: StagedFile,
    key: StagedFile,
}

/// A file that goes away unless it is published.
struct StagedFile {
    temporary: PathBuf,
    published: PathBuf,
}

impl Staged {
    fn write(to: &Written, certificate: &str, key: &str, present: Present) -> Result<Staged, Failure> {
        for path in [&to.certificate, &to.key] {
            if present != Present::Replace && path.exists() {
                return Err(exists(path));
            }
        }
        let folder = to.key.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| unwritable("create", folder, &error))?;
        Ok(Staged {
            key: StagedFile::write(&to.key, key, 0o600)?,
            certificate: StagedFile::write(&to.certificate, certificate, 0o644)?,
        })
    }

    /// The key first: a certificate without its key would be looked for in vain.
    fn publish(self, present: Present) -> Result<(), Failure> {
        self.key.publish(present)?;
        self.certificate.publish(present)
    }
}

impl StagedFile {
    fn write(path: &Path, text: &str, mode: u32) -> Result<StagedFile, Failure> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let staged = StagedFile { temporary: path.with_file_name(name), published: path.to_owned() };
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&staged.temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|error| unwritable("write", &staged.temporary, &error))?;
        Ok(staged)
    }

    fn publish(self, present: Present) -> Result<(), Failure> {
        if present == Present::Replace {
            return std::fs::rename(&self.temporary, &self.published)
                .map_err(|error| unwritable("write", &self.published, &error));
        }
        // A link does not take the place of what came there in the meantime.
        std::fs::hard_link(&self.temporary, &self.published).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.published),
            _ => unwritable("write", &self.published, &error),
        })
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        format!("{} exists already", path.display()),
        "choose another folder with --out, or replace it with --force: what trusts the old one will not trust the new one",
    )
}

fn unwritable(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::from_io(verb, path, error, "choose a folder this user can write with --out")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn one<'a>(name: &'a str, addresses: &'a [String]) -> NodeCertificate<'a> {
        NodeCertificate { name, addresses, days: 30 }
    }

    #[test]
    fn a_node_of_the_authority_is_believed_and_its_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        let made = authority(&certs, 3650, Present::Refuse).unwrap();
        let addresses = ["node1.example.com".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let written = node(&certs, &certs, &one("node1", &addresses), Present::Refuse).unwrap();
        let files = TlsFiles {
            authority: made.certificate.clone(),
            certificate: written.certificate.clone(),
            key: written.key.clone(),
        };
        Identity::load(files).unwrap();
        for key in [&made.key, &written.key] {
            assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let left: Vec<_> = std::fs::read_dir(&certs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn nothing_is_overwritten_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let made = authority(folder.path(), 10, Present::Refuse).unwrap();
        let before = std::fs::read(&made.key).unwrap();
        let refused = authority(folder.path(), 10, Present::Refuse).unwrap_err();
        assert!(refused.what().ends_with("ca.pem exists already"), "{refused}");
        assert_eq!(std::fs::read(&made.key).unwrap(), before);

        let addresses = ["a".to_owned()];
        let written = node(folder.path(), folder.path(), &one("n", &addresses), Present::Refuse).unwrap();
        let before = std::fs::read(&written.key).unwrap();
        node(folder.path(), folder.path(), &one("n", &addresses), Present::Refuse).unwrap_err();
        assert_eq!(std::fs::read(&written.key).unwrap(), before);
        node(folder.path(), folder.path(), &one("n", &addresses), Present::Replace).unwrap();
        let replaced = std::fs::read(&written.key).unwrap();
        assert_ne!(replaced, before);
        // What two starts of a container do.
        node(folder.path(), folder.path(), &one("n", &addresses), Present::Keep).unwrap();
        authority(folder.path(), 10, Present::Keep).unwrap();
        assert_eq!(std::fs::read(&written.key).unwrap(), replaced);
    }

    #[test]
    fn what_no_node_would_believe_is_not_written() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let addresses = ["a".to_owned()];
        let refused = node(folder.path(), folder.path(), &one("n", &addresses), Present::Refuse).unwrap_err();
        assert!(refused.what().starts_with("cannot read the authority's key "), "{refused}");
        authority(folder.path(), 10, Present::Refuse).unwrap();
        // The key of another authority: what it signs is not of this one.
        authority(other.path(), 10, Present::Refuse).unwrap();
        std::fs::copy(other.path().join("ca.key.pem"), folder.path().join("ca.key.pem")).unwrap();
        let refused = node(folder.path(), folder.path(), &one("n", &addresses), Present::Refuse).unwrap_err();
        assert!(refused.what().contains("cannot be used"), "{refused}");
        assert!(!folder.path().join("n.pem").exists() && !folder.path().join("n.key.pem").exists());
    }

    #[test]
    fn names_and_addresses_are_checked() {
        for name in ["node1", "node-1.example_x"] {
            check_name(name).unwrap();
        }
        for name in ["", "a/b", "..", "ca", "a b"] {
            check_name(name).unwrap_err();
        }
        for address in ["node1", "*.wharf.svc", "192.0.2.7", "2001:db8::7"] {
            check_address(address).unwrap();
        }
        for address in ["", "node1:5442", "[::1]", "a..b", "https://a", "a.*"] {
            check_address(address).unwrap_err();
        }
    }
}
