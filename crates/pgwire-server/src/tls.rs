//! TLS as the server offers it.
//!
//! What always holds: the provider is ring; a client that opens with TLS at once must negotiate the protocol name
//! `postgresql` (ALPN), as PostgreSQL 17 asks, so that no other protocol's client ends here. Certificates come as PEM
//! texts; reading files is not done here.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::TlsAcceptor;

/// The name of the protocol in TLS (ALPN).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// The certificate and key of the server.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The hash a client can be bound to (`tls-server-end-point`); `None` when the certificate's signature has none.
    pub(crate) end_point: Option<Arc<[u8]>>,
}

/// Why the certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text of the certificates cannot be read.
    #[error("cannot read the certificate: {0}")]
    Certificate(rustls::pki_types::pem::Error),
    /// There is no certificate in the PEM text.
    #[error("no certificate in the certificate file")]
    NoCertificate,
    /// The PEM text of the key cannot be read.
    #[error("cannot read the private key: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// They do not belong together, or rustls cannot use them.
    #[error("cannot use the certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// TLS with a certificate chain, the server's own first, and its private key, both PEM.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>().map_err(TlsError::Certificate)?;
        let end_point = end_point_hash(chain.first().ok_or(TlsError::NoCertificate)?);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), end_point: end_point.map(Arc::from) })
    }
}

/// The hash of a certificate after RFC 5929: that of its signature, SHA-256 in place of MD5 and SHA-1. `None` for
/// signatures without a hash of their own (Ed25519) or with one in their parameters (RSA-PSS).
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    /// The oids of signatures, as DER has them, by the hash they use.
    const SHA256_SIGNATURES: [&[u8]; 4] = [
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", // sha256WithRSAEncryption
        b"\x2a\x86\x48\xce\x3d\x04\x03\x02",     // ecdsa-with-SHA256
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", // sha1WithRSAEncryption
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", // md5WithRSAEncryption
    ];
    const SHA384_SIGNATURES: [&[u8]; 2] =
        [b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", b"\x2a\x86\x48\xce\x3d\x04\x03\x03"];
    const SHA512_SIGNATURES: [&[u8]; 2] =
        [b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", b"\x2a\x86\x48\xce\x3d\x04\x03\x04"];

    let signature = signature_algorithm(certificate)?;
    if SHA256_SIGNATURES.contains(&signature) {
        Some(Sha256::digest(certificate).to_vec())
    } else if SHA384_SIGNATURES.contains(&signature) {
        Some(Sha384::digest(certificate).to_vec())
    } else if SHA512_SIGNATURES.contains(&signature) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

/// The oid of a certificate's signature: `SEQUENCE { tbsCertificate, SEQUENCE { OBJECT IDENTIFIER, .. }, .. }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    let (certificate, _) = der_value(certificate, SEQUENCE)?;
    let (_, after_body) = der_value(certificate, SEQUENCE)?;
    let (algorithm, _) = der_value(after_body, SEQUENCE)?;
    let (oid, _) = der_value(algorithm, OBJECT_IDENTIFIER)?;
    Some(oid)
}

/// The content of the DER value `bytes` begins with, which must have the given tag, and what follows it.
fn der_value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    match *length {
        short @ 0..=0x7f => rest.split_at_checked(usize::from(short)),
        long @ 0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            rest.split_at_checked(length)
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_point_hash_follows_the_signature() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let tls = Tls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let expected = Sha384::digest(certificate.der()).to_vec();
        assert_eq!(tls.end_point.as_deref(), Some(&expected[..]));
    }

    #[test]
    fn signatures_without_a_hash_cannot_be_bound_to() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(end_point_hash(certificate.der()), None);
    }

    #[test]
    fn texts_that_are_no_certificates_are_errors() {
        assert!(matches!(Tls::from_pem(b"", b""), Err(TlsError::NoCertificate)));
        for length in 0..16 {
            assert_eq!(end_point_hash(&vec![0x30; length]), None);
        }
    }
}
