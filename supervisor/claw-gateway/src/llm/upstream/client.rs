//! Requests to providers over connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::headers::to_provider;
use super::{BaseUrl, Key};
use crate::llm::wire::{Api, Side};

/// How long finding a provider and connecting to it may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection is kept that nobody uses. Providers' balancers close them after a minute
/// or more; a request on one that was just closed would be lost.
const IDLE: Duration = Duration::from_secs(45);

/// How many connections to a provider are kept.
const KEPT: usize = 64;

/// What goes to a provider.
pub struct Outgoing<'a> {
    /// Where to.
    pub base_url: &'a BaseUrl,
    /// The provider's key, if it wants one.
    pub key: Option<&'a Key>,
    /// The interface.
    pub api: Api,
    /// The agent's headers; few of them pass.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection was made, so nothing was sent.
    #[error("the provider cannot be reached")]
    Connect(#[source] legacy::Error),
    /// The connection ended before the answer; the provider may have seen the request.
    #[error("the connection ended before the answer")]
    Broken(#[source] legacy::Error),
}

/// The connections to all providers. Clones share them.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    /// A client that trusts the system's certificates. Without any, providers are reached by http
    /// alone.
    #[must_use]
    pub fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let connector = tls().https_or_http().enable_http1().wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .build(connector);
        Self(client)
    }

    /// Sends a request, and waits for the head of its answer. The future owns all it needs; a
    /// request whose future is dropped is cancelled.
    pub fn send(
        &self,
        outgoing: Outgoing<'_>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + use<> {
        let api = outgoing.api;
        let headers = to_provider(outgoing.headers, api.side(), outgoing.key);
        self.post(outgoing.base_url.of(api), headers, outgoing.body)
    }

    /// Asks a provider of OpenAI's interface for its judgement of texts.
    pub fn moderate(
        &self,
        base_url: &BaseUrl,
        key: Option<&Key>,
        body: Bytes,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + use<> {
        let headers = to_provider(&HeaderMap::new(), Side::OpenAi, key);
        self.post(base_url.below("/moderations"), headers, body)
    }

    fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send + use<> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let sent = self.0.request(request);
        async move {
            sent.await.map_err(|error| {
                if error.is_connect() {
                    SendError::Connect(error)
                } else {
                    SendError::Broken(error)
                }
            })
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn tls() -> HttpsConnectorBuilder<hyper_rustls::builderstates::WantsSchemes> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = HttpsConnectorBuilder::new();
    match builder.with_provider_and_native_roots(Arc::clone(&provider)) {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(
                %error,
                "the system has no certificates of authorities, so no provider is reached by \
                 https; install them (ca-certificates), or name a file in SSL_CERT_FILE"
            );
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has the suites of TLS 1.2 and 1.3")
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config)
        }
    }
}
