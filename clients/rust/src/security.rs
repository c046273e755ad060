//! How a connection is protected, and who the caller is.

/// How a connection is protected, and who the caller is.
#[derive(Clone, Default)]
pub struct Security {
    /// Whether the gateway has a certificate of an authority that the system trusts.
    pub tls: bool,
    /// The authorities that its certificate may be from, in PEM, in place of those of the system.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate, if the gateway wants one. It turns TLS on, as `ca` does.
    pub identity: Option<Identity>,
    /// Sent with each call: over TLS, or to this machine.
    pub token: Option<String>,
    /// The namespace that calls concern, if the caller has several.
    pub namespace: Option<String>,
}

/// A certificate of the client, with which it shows who it is.
#[derive(Clone)]
pub struct Identity {
    /// It, and those between it and its authority, in PEM.
    pub cert: Vec<u8>,
    /// Its key, in PEM, as PKCS 8.
    pub key: Vec<u8>,
}
