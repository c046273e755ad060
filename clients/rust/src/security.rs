//! How a connection is protected, and who the caller is.

/// How a connection is protected, and who the caller is.
#[derive(Clone, Default)]
pub struct Security {
    /// Whether the gateway has a certificate of an authority that the system trusts.
    pub tls: bool,
    /// The authorities that its certificate may be from, in PEM, in place of those of the system.
    pub ca: Option<Vec<u8>>,
    /// Sent with each call: over TLS, or to this machine.
    pub token: Option<String>,
    /// The namespace that calls concern, if the caller has several.
    pub namespace: Option<String>,
}
