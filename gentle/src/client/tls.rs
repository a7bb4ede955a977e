//! What TLS trusts and shows, from the files that a plan names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::plan::{NamedFile, TlsPlan};

/// Where a plan's files are, and what the command line says about TLS.
#[derive(Debug)]
pub(crate) struct TlsFiles<'a> {
    /// What the files' paths start from.
    pub(crate) directory: &'a Path,
    /// The authorities for jobs that name none.
    pub(crate) cacert: Option<&'a Path>,
    /// Whether no job checks certificates.
    pub(crate) insecure: bool,
}

impl TlsFiles<'_> {
    /// Reads a job's files.
    ///
    /// # Errors
    ///
    /// If a file cannot be used: the plan's line that names it, and why.
    pub(crate) fn config(&self, plan: &TlsPlan, speaks_tls: bool) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions");
        let builder = if self.insecure || plan.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
        } else {
            builder.with_root_certificates(self.roots(plan, speaks_tls)?)
        };
        let Some(certificate) = &plan.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let (chain, key) = (&certificate.chain, &certificate.key);
        let certificates = read_certificates(&self.path(chain)).map_err(|why| at(chain, why))?;
        let secret = PrivateKeyDer::from_pem_file(self.path(key));
        let secret = secret.map_err(|why| at(key, format!("no private key: {why}")))?;
        builder.with_client_auth_cert(certificates, secret).map_err(|why| at(chain, why))
    }

    fn roots(&self, plan: &TlsPlan, speaks_tls: bool) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &plan.cacert {
            let certificates = read_certificates(&self.path(file)).map_err(|why| at(file, why))?;
            roots.add_parsable_certificates(certificates);
        } else if let Some(path) = self.cacert {
            let certificates = read_certificates(path)
                .map_err(|why| format!("--cacert {}: {why}", path.display()))?;
            roots.add_parsable_certificates(certificates);
        } else if speaks_tls {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }

    fn path(&self, file: &NamedFile) -> PathBuf {
        self.directory.join(&file.file)
    }
}

fn at(file: &NamedFile, why: impl fmt::Display) -> String {
    format!("{}: {}: {why}", file.line, file.file)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = certificates.map_err(|why| format!("no certificates: {why}"))?;
    if certificates.is_empty() {
        return Err("no certificate in it: give a PEM file".to_owned());
    }
    Ok(certificates)
}

/// Takes any certificate.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
