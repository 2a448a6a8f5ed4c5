//! From a name to its addresses.

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::policy::DnsName;

/// The most lookups at a time. The system's resolver blocks a thread for as long as a name server
/// does not answer, and agents must not take all threads.
const MAX_LOOKUPS: usize = 64;

/// What a resolver answers.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of names.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a name, in the order they should be tried.
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Addresses<'a>;
}

/// The system's resolver: hosts file, name servers, and what else it is set up for.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { lookups }
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Addresses<'a> {
        Box::pin(async move {
            let permit = Arc::clone(&self.lookups)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            let name = name.as_str().to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                // It goes back when the thread is free, not when somebody lost patience.
                let _permit = permit;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                addresses.dedup();
                Ok(addresses)
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
