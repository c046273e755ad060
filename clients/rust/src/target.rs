//! The gateway's address, and how to connect to it.

use http::header::{HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use native_tls::{Certificate, TlsConnector};
use tokio::net::TcpStream;

use crate::link::{open, Sender};
use crate::{Code, Error, Security};

/// The gateway's address, and how to connect to it.
pub struct Target {
    address: String,
    authority: Authority,
    tls: Option<tokio_native_tls::TlsConnector>,
    /// What is sent with each call.
    metadata: HeaderMap,
}

impl Target {
    /// Fails if one of the arguments has no valid form, or a token would leave this machine in the clear.
    pub fn new(address: &str, security: &Security) -> Result<Target, Error> {
        let authority: Authority = address.parse().map_err(invalid)?;
        if authority.host().is_empty() || authority.as_str().contains('@') || matches!(authority.port_u16(), None | Some(0)) {
            return Err(invalid(format!("{:?} is no address: it is HOST:PORT", address)));
        }
        let secured = security.tls || security.ca.is_some() || security.identity.is_some();
        let tls = if secured { Some(connector(security)?.into()) } else { None };
        if security.token.is_some() && tls.is_none() && !is_local(host(&authority)) {
            return Err(invalid(format!("a token is sent to {} only over TLS", address)));
        }
        Ok(Target { address: address.into(), authority, tls, metadata: metadata(security)? })
    }

    /// Returns the head of a call.
    pub fn request(&self, path: &'static str) -> http::Request<()> {
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(self.authority.clone());
        let uri = uri.path_and_query(PathAndQuery::from_static(path)).build().expect("all parts are valid");
        let mut request = http::Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.metadata.clone();
        request
    }

    /// Makes a connection.
    pub async fn connect(&self) -> Result<Sender, Error> {
        let socket = TcpStream::connect(&self.address).await.map_err(Error::cut)?;
        socket.set_nodelay(true).map_err(Error::cut)?;
        match &self.tls {
            None => open(socket).await,
            Some(tls) => open(tls.connect(host(&self.authority), socket).await.map_err(Error::cut)?).await,
        }
    }
}

fn connector(security: &Security) -> Result<TlsConnector, Error> {
    let mut builder = TlsConnector::builder();
    builder.request_alpns(&["h2"]);
    if let Some(pem) = &security.ca {
        builder.disable_built_in_roots(true);
        for certificate in certificates(pem) {
            builder.add_root_certificate(Certificate::from_pem(certificate.as_bytes()).map_err(invalid)?);
        }
    }
    if let Some(identity) = &security.identity {
        builder.identity(native_tls::Identity::from_pkcs8(&identity.cert, &identity.key).map_err(invalid)?);
    }
    builder.build().map_err(invalid)
}

/// Each certificate of a file, which may hold several.
fn certificates(pem: &[u8]) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let (whole, _) = text.rsplit_once(END).unwrap_or(("", ""));
    whole.split(END).map(|begin| format!("{}{}\n", begin.trim_start(), END)).collect()
}

fn metadata(security: &Security) -> Result<HeaderMap, Error> {
    let mut metadata = HeaderMap::new();
    metadata.insert("te", HeaderValue::from_static("trailers"));
    metadata.insert("content-type", HeaderValue::from_static("application/grpc"));
    metadata.insert("user-agent", HeaderValue::from_static("runs-gateway-rust"));
    if let Some(token) = &security.token {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("a token is one word of visible ASCII characters"));
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token)).map_err(invalid)?;
        value.set_sensitive(true);
        metadata.insert("authorization", value);
    }
    if let Some(namespace) = &security.namespace {
        metadata.insert("runs-namespace", HeaderValue::from_str(namespace).map_err(invalid)?);
    }
    Ok(metadata)
}

fn host(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().map_or(false, |address| address.is_loopback())
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, why.to_string())
}
